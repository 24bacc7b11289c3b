"""The results of a run. PURE."""

from __future__ import annotations

import attrs

from .figures import Judged, Sample, judge
from .works import Work


@attrs.define
class Result:
    """One work's samples by server, and why there are none of some."""

    work: Work
    samples: dict[str, list[Sample]] = attrs.field(factory=dict)
    problems: dict[str, str] = attrs.field(factory=dict)

    @property
    def judged(self) -> list[Judged]:
        """The figures to reach, with what was reached."""
        return [judge(self.work, target, self.samples) for target in self.work.targets]
