"""Drawing alone: figures, colours, and SVG for pages."""

import matplotlib
from matplotlib import font_manager

FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
)
"""That have Chinese characters, unlike matplotlib's own font; those that are installed are asked after it."""

matplotlib.use("Agg")
matplotlib.rcParams["text.parse_math"] = False  # a $ in the name of a class or a case is a $
_INSTALLED = {font.name for font in font_manager.fontManager.ttflist}
matplotlib.rcParams["font.family"] = ["sans-serif", *(name for name in FONTS if name in _INSTALLED)]
