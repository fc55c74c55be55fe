"""Where and how a run is started, kept in its folder as ``launch.json``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from segmentation.configuration import Config, check_choice, check_range
from segmentation.errors import LanternError, require
from segmentation.files import read_json, write_json

NAME = "launch.json"
CLUSTERS = ("local", "slurm")
MAX_MINUTES = 525600
_SLURM_ONLY = ("partition", "gpus", "cpus", "memory", "options")


@dataclasses.dataclass(frozen=True)
class LaunchConfig(Config):
    """Where and how a run is started."""

    cluster: str = "local"
    """local: child processes on this machine, which outlive who started them; slurm: a job of Slurm."""
    processes: int = 1
    """Processes on each machine that share the work, for the commands that can."""
    nodes: int = 1
    """Machines (slurm)."""
    minutes: int = 0
    """Time limit; the run saves before it is over. Local: it is stopped then; slurm: it goes back into the queue, if it may.
    0: local none, slurm what the partition gives."""
    warning: int = 90
    """Seconds before the end of the time limit at which the run saves."""
    requeue: bool = True
    """With slurm: let it be queued again after a preemption, and after the time limit."""
    partition: str = ""
    """Partition (slurm); by default the cluster's own."""
    gpus: int = 0
    """GPUs on each machine (slurm)."""
    cpus: int = 0
    """CPU cores for each process (slurm); 0: what the cluster gives."""
    memory: int = 0
    """GiB of memory on each machine (slurm); 0: what the cluster gives."""
    options: tuple[str, ...] = ()
    """More options of sbatch (slurm), each NAME=VALUE, for example account=vision."""

    def __post_init__(self) -> None:
        check_choice("cluster", self.cluster, CLUSTERS)
        for name, low, high in (("processes", 1, 1024), ("nodes", 1, 4096), ("warning", 1, 3600)):
            check_range(name, getattr(self, name), low, high)
        for name, high in (("minutes", MAX_MINUTES), ("gpus", 1024), ("cpus", 4096), ("memory", 1 << 20)):
            check_range(name, getattr(self, name), 0, high)
        short = f"a time limit of {self.minutes} minutes with a warning {self.warning} seconds before its end"
        require(not self.minutes or 60 * self.minutes > self.warning, short, "Choose more minutes, or a later warning.")
        for option in self.options:
            require("=" in option, f"the option {option!r} has no value", "Write NAME=VALUE, for example account=vision.")
        if self.cluster == "local":
            given = [name for name in _SLURM_ONLY if getattr(self, name)] + ["nodes"] * (self.nodes > 1)
            require(not given, f"{', '.join(given)} with cluster local", "They are for --cluster slurm.")

    def sbatch(self, name: str) -> dict[str, Any]:
        """What submitit's Slurm executor is told, for a job of that ``name``."""
        more: dict[str, Any] = dict(option.lstrip("-").split("=", 1) for option in self.options)
        more["requeue" if self.requeue else "no-requeue"] = True
        told: dict[str, Any] = {"job_name": name, "nodes": self.nodes, "ntasks_per_node": self.processes}
        told |= {"signal_delay_s": self.warning, "additional_parameters": more}
        if self.partition:
            told["partition"] = self.partition
        for key, value in (("gpus_per_node", self.gpus), ("cpus_per_task", self.cpus)):
            told |= {key: value} if value else {}
        if self.memory:
            told["mem"] = f"{self.memory}G"
        # submitit has a time limit of its own unless it is given one; 0 is Slurm's word for what the partition gives.
        told["time"] = self.minutes
        return told


def save_launch(folder: Path, config: LaunchConfig) -> None:
    """Keep in the run's ``folder`` how it was started."""
    write_json(folder / NAME, config.to_json())


def read_launch(folder: Path) -> LaunchConfig | None:
    """How the run in ``folder`` was started the last time; None if it was started by hand."""
    return LaunchConfig.from_json(read_json(folder / NAME)) if (folder / NAME).is_file() else None


def requeues(folder: Path) -> bool:
    """Whether the run in ``folder`` goes back into Slurm's queue when its time is over."""
    try:
        config = read_launch(folder)
    except LanternError:
        return False
    return config is not None and config.cluster == "slurm" and config.requeue
