"""What every check asks: the function, what is certain of its names, and where in it the lowering is."""

from __future__ import annotations

from helpers.interpret.facts.function import Subject
from helpers.interpret.facts.infer import Facts
from helpers.interpret.facts.region import Region


class Check:
    """A check raises refusals; it makes no code."""

    def __init__(self, subject: Subject, facts: Facts, region: Region):
        self.subject, self.facts, self.names, self.region = subject, facts, facts.names, region
        self.refuse, self.pl_path, self.outside = subject.refuse, subject.pl_path, subject.outside
        self.kind, self.extent = facts.kind, facts.extent
