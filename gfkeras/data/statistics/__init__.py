"""Statistics of a data set: counts, sizes, a contact sheet, and suspicious images."""

from gfkeras.data.statistics.contact_sheet import contact_sheet
from gfkeras.data.statistics.data_statistics import DataStatistics
from gfkeras.data.statistics.suspects import Mislabelled, NearDuplicate, Suspects, find_suspects

__all__ = [
    "DataStatistics", "Mislabelled", "NearDuplicate", "Suspects", "contact_sheet", "find_suspects",
]  # fmt: skip
