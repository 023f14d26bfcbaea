"""What all sections of the settings share."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A section: frozen, and a name that it does not have is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
