"""What a browser computed of a page: the contrast of what it shows, its places and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TEXT, LARGE, GRAPHIC = 4.5, 3.0, 3.0
"""WCAG 2.2, 1.4.3 and 1.4.11: the least ratios."""


class Measured(NamedTuple):
    """One text, control or graphic: its contrast and what it has to have."""

    what: str
    ratio: float
    least: float

    @property
    def poor(self) -> bool:
        """Whether it falls short."""
        return self.ratio < self.least


def measured(page: Page, scope: str) -> list[Measured]:
    """Measure everything that is seen within what matches `scope`; disabled controls are exempt."""
    return [Measured(*one) for one in page.evaluate(_MEASURE, [scope, TEXT, LARGE, GRAPHIC])]


def ratio(one: str, other: str) -> float:
    """Return the contrast of two opaque colours, written as #rrggbb."""
    light, dark = sorted(map(_luminance, (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def misplaced(panel: Locator) -> list[str]:
    """Return what a panel shows beyond its right edge, and which of its parts lie over another."""
    return list(panel.evaluate(_MISPLACED))


def alike(page: Page) -> dict[str, list[str]]:
    """Return what cards, tables and controls should have one of: sizes, paddings, a colour."""
    return dict(page.evaluate(_ALIKE))


# A colour is followed from its element up to the page: over each background, through each opacity.
_MEASURE: Any = """([scope, TEXT, LARGE, GRAPHIC]) => {
    const parse = css => {
        const srgb = css.startsWith('color(srgb');
        const [r, g, b, a = 1] = (css.match(/[\\d.]+(?:e-?\\d+)?/g) || [0, 0, 0, 0]).map(Number);
        return srgb ? [255 * r, 255 * g, 255 * b, a] : [r, g, b, a];
    };
    const faded = (color, by) => [...color.slice(0, 3), color[3] * by];
    const over = (top, below) => {
        const a = top[3] + below[3] * (1 - top[3]);
        const mix = n => (top[n] * top[3] + below[n] * below[3] * (1 - top[3])) / a;
        return a ? [mix(0), mix(1), mix(2), a] : [0, 0, 0, 0];
    };
    const luminance = color => {
        const part = x => (x /= 255) <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
        return .2126 * part(color[0]) + .7152 * part(color[1]) + .0722 * part(color[2]);
    };
    const probe = document.body.appendChild(document.createElement('i'));
    probe.style.color = 'Canvas';
    const canvas = parse(getComputedStyle(probe).color);
    probe.remove();
    const contrast = (element, color, below = [0, 0, 0, 0]) => {
        let [top, ground] = [over(color, below), below];
        for (let one = element; one; one = one.parentElement) {
            const style = getComputedStyle(one), opacity = parseFloat(style.opacity);
            const behind = parse(style.backgroundColor);
            [top, ground] = [top, ground].map(each => faded(over(each, behind), opacity));
        }
        const [a, b] = [top, ground].map(each => luminance(over(each, canvas)));
        return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    };
    const how = {opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true};
    const seen = one => {
        const {width, height} = one.getBoundingClientRect();
        return one.checkVisibility(how) && Math.max(width, height) > 0;
    };
    const found = [];
    const say = (what, least, ...how) =>
        found.push([what.slice(0, 60), Math.round(100 * contrast(...how)) / 100, least]);
    const paint = (style, kind) =>
        faded(parse(style[kind]), parseFloat(style[kind + 'Opacity']));
    const barsBehind = word => {
        const at = word.getBoundingClientRect(), x = (at.left + at.right) / 2;
        return [...word.parentElement.querySelectorAll('rect')].reduce((below, bar) => {
            const {left, right} = bar.getBoundingClientRect();
            return left <= x && x <= right ? over(paint(getComputedStyle(bar), 'fill'), below)
                : below;
        }, [0, 0, 0, 0]);
    };
    const texts = root => {
        const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (walk.nextNode()) {
            const one = walk.currentNode.parentElement, words = walk.currentNode.data.trim();
            const style = getComputedStyle(one), size = parseFloat(style.fontSize);
            const apart = one.matches('style, script, title, option') || one.closest(':disabled');
            if (!words || apart || !seen(one) || !size) continue;
            const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
            const inSvg = one instanceof SVGElement;
            say(words, large ? LARGE : TEXT, one, inSvg ? paint(style, 'fill')
                : parse(style.color), inSvg ? barsBehind(one) : undefined);
        }
    };
    const controls = root => {
        for (const one of root.querySelectorAll('input, select, textarea')) {
            if (one.disabled || !seen(one)) continue;
            const style = getComputedStyle(one), dim = getComputedStyle(one, '::placeholder');
            say(`value ${one.value}`, TEXT, one, parse(style.color));
            say('border of a control', GRAPHIC, one.parentElement, parse(style.borderTopColor));
            if (one.placeholder) say(`placeholder ${one.placeholder}`, TEXT, one,
                faded(parse(dim.color), parseFloat(dim.opacity)));
        }
    };
    const graphics = root => {
        for (const one of root.querySelectorAll('.badge'))
            if (seen(one)) say(`dot of ${one.textContent}`, GRAPHIC, one,
                parse(getComputedStyle(one, '::before').backgroundColor));
        for (const one of root.querySelectorAll('svg :is(rect, circle, line, polyline)')) {
            const style = getComputedStyle(one);
            if (seen(one)) say(`${one.tagName} ${one.textContent}`, GRAPHIC, one.parentElement,
                paint(style, style.stroke === 'none' ? 'fill' : 'stroke'));
        }
        for (const one of root.querySelectorAll('*')) {
            const style = getComputedStyle(one), wide = parseFloat(style.borderLeftWidth) >= 3;
            if (wide && style.borderLeftStyle === 'solid' && seen(one))
                say(`edge of ${one.textContent}`, GRAPHIC, one.parentElement,
                    parse(style.borderLeftColor));
        }
    };
    for (const root of document.querySelectorAll(scope)) {
        texts(root);
        controls(root);
        graphics(root);
    }
    return found;
}"""

_MISPLACED: Any = """panel => {
    const drawn = one => one.checkVisibility() && one.getBoundingClientRect().width > 0;
    const end = panel.getBoundingClientRect().right;
    const scrolls = '.wide, .plab-live, svg';
    const name = one => `${one.tagName} ${one.textContent.slice(0, 30)}`;
    const beyond = [...panel.querySelectorAll('*')].filter(one => drawn(one)
        && one.getBoundingClientRect().right > end + 1 && !one.parentElement.closest(scrolls));
    const parts = [...panel.querySelectorAll(
        'input, select, textarea, button:not(.plab-hit), .widget-label, .plab:not(.plab-one)'
    )].filter(drawn);
    const meet = (a, b) => {
        const [one, other] = [a, b].map(each => each.getBoundingClientRect());
        const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
        const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
        return wide > 2 && high > 2;
    };
    const over = parts.flatMap((a, n) => parts.slice(n + 1)
        .filter(b => !a.contains(b) && meet(a, b)).map(b => `${name(a)} over ${name(b)}`));
    return [...beyond.map(name), ...over];
}"""
_ALIKE: Any = """() => {
    const of = (where, ...names) => [...new Set([...document.querySelectorAll(where)]
        .filter(one => one.checkVisibility()).map(one => names.map(
            name => getComputedStyle(one)[name]).join(' ')))];
    const cells = ':is(.projectai-lab, .jp-RenderedHTML) :is(td, th)';
    const texts = `${cells}, .plab, .plab .badge, .projectai-lab :is(label, input, select, button)`;
    const color = (where, words, kind, part) => {
        const found = [...document.querySelectorAll(where)].find(
            one => one.textContent.includes(words));
        return getComputedStyle(found, part)[kind];
    };
    return {
        sizes: of(texts + ', .jp-RenderedHTML > div', 'fontSize').filter(size => size !== '0px'),
        padding: of(`${cells}:not(:last-child)`, 'paddingRight', 'paddingTop'),
        completed: [...new Set([
            color('.badge', 'COMPLETED', 'backgroundColor', '::before'),
            color('.jp-RenderedHTML > div', 'COMPLETED', 'borderLeftColor'),
            color('.plab-one rect', 'COMPLETED', 'stroke'),
        ])],
    };
}"""
