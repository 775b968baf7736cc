"""The kinds of values that recipes are made of: sizes, names, shares and limits, each with its bounds."""

import re
import reprlib
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
NAME = r"^[a-z0-9][a-z0-9_.-]*$"


def parse_size(value: object) -> object:
    """Turn '64 MB' into 64000000 bytes; leave anything else to pydantic."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]+)\s*", value)
        if match and match[2].upper() in UNITS:
            return int(Decimal(match[1]) * UNITS[match[2].upper()])
        raise ValueError(f"expected bytes, as a number or like '64 MB', found {reprlib.repr(value)}")
    return value


Size = Annotated[int, BeforeValidator(parse_size)]
Name = Annotated[str, Field(pattern=NAME, max_length=64)]
Fraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SignedLimit = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[int, Field(gt=0)]


class Strict(BaseModel):
    """Refuses unknown keys; cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
