"""Line charts with logarithmic axes as small SVG files, without a background: greys and colours of medium lightness can
be read on white and on black."""
import html
import math

COLOURS = ["#2f81f7", "#e0823d", "#3fa45b", "#c061cb"]
GREY = "#848d97"


def decades(low, high):
    return [10.0 ** k for k in range(math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9) + 1)]


def short(value):
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit * 0.9999:
            return f"{value / limit:g}{suffix}"
    return f"{value:g}"


def chart(title, x_label, y_label, series, x_ticks=None):
    """series: {name: [(x, y)...]}; x_ticks: [(x, text)...] where powers of ten would be wrong."""
    width, height, left, right, top, bottom = 640, 350, 64, 24, 50, 46
    xs = [x for line in series.values() for x, _ in line]
    ys = [y for line in series.values() for _, y in line]
    x_ticks = x_ticks or [(x, short(x)) for x in decades(min(xs), max(xs)) if min(xs) * 0.999 <= x <= max(xs) * 1.001]
    y_ticks = decades(min(ys), max(ys))
    if len(y_ticks) <= 3:  # less than two decades: more lines, so that something can be read off
        y_ticks = sorted({m * d for d in y_ticks for m in (1, 2, 5) if min(ys) / 2.5 <= m * d <= max(ys) * 2.5})
    y_low, y_high = min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys))

    def at(x, y):
        across = (math.log(x) - math.log(min(xs))) / (math.log(max(xs)) - math.log(min(xs)))
        up = (math.log(y) - math.log(y_low)) / (math.log(y_high) - math.log(y_low))
        return left + across * (width - left - right), height - bottom - up * (height - top - bottom)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
           f'font-family="sans-serif" font-size="12" fill="{GREY}">',
           f'<text x="{left}" y="18" font-size="14">{html.escape(title)}</text>']
    for y in y_ticks:
        _, v = at(min(xs), y)
        out.append(f'<path d="M{left} {v:.1f}H{width - right}" stroke="{GREY}" stroke-opacity=".3"/>'
                   f'<text x="{left - 6}" y="{v + 4:.1f}" text-anchor="end">{short(y)}</text>')
    for x, text in x_ticks:
        u, _ = at(x, y_low)
        out.append(f'<text x="{u:.1f}" y="{height - bottom + 16}" text-anchor="middle">{html.escape(text)}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 8}" '
               f'text-anchor="middle">{html.escape(x_label)}</text>')
    out.append(f'<text transform="translate(14 {(top + height - bottom) / 2}) rotate(-90)" '
               f'text-anchor="middle">{html.escape(y_label)}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [at(x, y) for x, y in line]
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" '
                   f'points="{" ".join(f"{u:.1f},{v:.1f}" for u, v in points)}"/>')
        out += [f'<circle cx="{u:.1f}" cy="{v:.1f}" r="3" fill="{colour}"/>' for u, v in points]
        out.append(f'<text x="{left + 170 * number}" y="37" fill="{colour}">{html.escape(name)}</text>')
    return "\n".join([*out, "</svg>", ""])
