"""How well text stands out from what is behind it (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

from .browser import Browser

_SCRIPT = r"""
const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) =>
    0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
const behind = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const colour = channels(getComputedStyle(each).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const hasText = (element) =>
    [...element.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
return [...document.querySelectorAll('body *')]
  .filter((each) => each.checkVisibility() && !each.disabled && hasText(each))
  .map((each) => {
    const both = [channels(getComputedStyle(each).color), behind(each)].map(luminance);
    const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    return [ratio, `${each.tagName} ${each.id} ${each.className} "${each.innerText.slice(0, 30)}"`];
  })
  .filter(([ratio]) => ratio < 4.5)
  .map(([ratio, name]) => `${ratio.toFixed(2)} ${name}`);
"""


def poor_contrasts(page: Browser) -> list[str]:
    """The texts in a page that stand out by less than 4.5 to 1; those switched off may."""
    found: list[str] = page.run(_SCRIPT)
    return found
