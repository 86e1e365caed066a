from typing import Self, final

from fastgen.params import SamplingParams
from fastgen.plan import Plan

@final
class History:
    def __new__(cls, params: SamplingParams, plan: Plan, eos_ids: tuple[int, ...]) -> Self: ...
