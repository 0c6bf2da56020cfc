"""Small SVG plots, drawn without libraries."""
import html
import math

COLOURS = ["#c2410c", "#1d4ed8", "#15803d", "#7e22ce", "#b45309", "#0e7490"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 80, 20, 60, 50


def document(title, parts, height=HEIGHT):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{html.escape(title)}</text>', *parts, "</svg>\n"])


def short(value):
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{unit}"
    return f"{value:g}"


def bars(title, rows, unit):
    """rows: (name, value, note)"""
    largest = max(value for _, value, _ in rows)
    parts, y = [], 40
    for i, (name, value, note) in enumerate(rows):
        width = (WIDTH - 200 - 160) * value / largest
        parts += [
            f'<text x="190" y="{y + 15}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect x="200" y="{y}" width="{width:.1f}" height="22" fill="{COLOURS[i % 6]}"/>',
            f'<text x="{206 + width:.1f}" y="{y + 15}">{value:,.0f} {unit} '
            f'{html.escape(note)}</text>']
        y += 30
    return document(title, parts, y + 10)


def round_step(least):
    """The next 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= least)


def lines(title, x_name, y_name, series, x_log=True, y_log=True):
    """series: {name: [(x, y), ...]}"""
    points = [point for row in series.values() for point in row if point[1] > 0]
    xs, ys = [p[0] for p in points], [p[1] for p in points]

    def scale(values, is_log):
        if is_log:
            return math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
        return 0, 5 * round_step(max(values) / 5)

    (x_low, x_high), (y_low, y_high) = scale(xs, x_log), scale(ys, y_log)
    x_high += x_high == x_low
    y_high += y_high == y_low

    def x_of(x):
        at = math.log10(x) if x_log else x
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - x_low) / (x_high - x_low)

    def y_of(y):
        at = math.log10(y) if y_log else y
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (at - y_low) / (y_high - y_low)

    def marks(low, high, is_log):
        if is_log:
            return [10.0 ** e for e in range(low, high + 1)]
        return [high * i / 5 for i in range(6)]

    parts = []
    for x in marks(x_low, x_high, x_log):
        parts.append(f'<path stroke="#ddd" d="M{x_of(x):.1f} {TOP}V{HEIGHT - BOTTOM}"/><text '
                     f'x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">'
                     f'{short(round(x, 3))}</text>')
    for y in marks(y_low, y_high, y_log):
        parts.append(f'<path stroke="#ddd" d="M{LEFT} {y_of(y):.1f}H{WIDTH - RIGHT}"/><text '
                     f'x="{LEFT - 6}" y="{y_of(y) + 4:.1f}" text-anchor="end">'
                     f'{short(round(y, 3))}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">'
                 f'{html.escape(x_name)}</text>')
    parts.append(f'<text x="{LEFT - 60}" y="{TOP - 8}">{html.escape(y_name)}</text>')
    for i, (name, row) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = "L".join(f"{x_of(x):.1f} {y_of(y):.1f}" for x, y in row if y > 0)
        parts.append(f'<path fill="none" stroke="{colour}" stroke-width="2" d="M{path}"/>')
        parts += [f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3" fill="{colour}"/>'
                  for x, y in row if y > 0]
        parts.append(f'<text x="{LEFT + 60 + 130 * i}" y="{TOP - 18}" fill="{colour}">'
                     f'{html.escape(name)}</text>')
    return document(title, parts)
