"""What the configuration says about the look of the page."""

from pydantic import Field

from loopda.config import Section


class PageSettings(Section):
    """The section `report`."""

    title: str = ""
    gallery_images: int = Field(default=6, ge=0)
    gallery_day_images: int = Field(default=2, ge=0)
    picture_width: int = Field(default=512, ge=16)
