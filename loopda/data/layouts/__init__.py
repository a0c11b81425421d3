"""The layouts that the section `data` knows: each is a file here, with its configuration class and its reader."""

from typing import Annotated

from pydantic import Field

from loopda.data.layouts.acdc import AcdcLayout
from loopda.data.layouts.bdd100k_night import Bdd100kNightLayout
from loopda.data.layouts.cityscapes import CityscapesLayout
from loopda.data.layouts.dark_zurich import DarkZurichLayout
from loopda.data.layouts.folder import FolderLayout
from loopda.data.layouts.gta5 import Gta5Layout
from loopda.data.layouts.nighttime_driving import NighttimeDrivingLayout
from loopda.data.layouts.synthia import SynthiaLayout
from loopda.data.layouts.table import TableLayout

# a new data set is two lines here and a file in this folder
DataSet = Annotated[
    CityscapesLayout
    | DarkZurichLayout
    | NighttimeDrivingLayout
    | AcdcLayout
    | Bdd100kNightLayout
    | Gta5Layout
    | SynthiaLayout
    | TableLayout
    | FolderLayout,
    Field(discriminator="layout"),
]
