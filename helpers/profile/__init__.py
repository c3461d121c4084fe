"""Predicted time of a kernel: costs of its tasks, their schedule on a chip's cores, and reports of both."""

from helpers.profile.cost import Costs, TaskCost
from helpers.profile.profile import NameRow, Profile, profile
from helpers.profile.schedule import Schedule
from helpers.profile.task_table import CORES, CUBE, MIXED, VECTOR, Tasks

__all__ = [
    "CORES",
    "CUBE",
    "MIXED",
    "VECTOR",
    "Costs",
    "NameRow",
    "Profile",
    "Schedule",
    "TaskCost",
    "Tasks",
    "profile",
]
