"""What is on a page: its text, and the pictures of its cases."""

import base64
import json
import re
from io import BytesIO

import numpy as np
from PIL import Image

from engine.scoring.snapshots import untiled


def cases_of(page):
    """What the viewer of a page is given."""
    return json.loads(re.search(r'<script type="application/json" class="cases">(.*?)</script>', page, re.S)[1])


def text_of(page):
    """What a reader sees of a page, roughly."""
    body = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def decoded(uri, case):
    """The tiles of a picture of a case."""
    pixels = np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",")[1]))))
    return untiled(pixels, len(case["slices"]), tuple(case["size"]))
