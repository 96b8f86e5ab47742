// Rectangles {x, y, width, height} in whole pixels, and where lines pass.
export function clipped(rect, width, height) {
  const x = Math.max(0, Math.floor(rect.x)), y = Math.max(0, Math.floor(rect.y));
  const right = Math.min(width, Math.ceil(rect.x + rect.width)), bottom = Math.min(height, Math.ceil(rect.y + rect.height));
  return right > x && bottom > y ? {x, y, width: right - x, height: bottom - y} : null;
}

export function union(one, other) {
  if (!one || !other) return one || other;
  const x = Math.min(one.x, other.x), y = Math.min(one.y, other.y);
  const right = Math.max(one.x + one.width, other.x + other.width), bottom = Math.max(one.y + one.height, other.y + other.height);
  return {x, y, width: right - x, height: bottom - y};
}

export function around(points, margin = 0) {
  const xs = points.map((point) => point.x), ys = points.map((point) => point.y);
  const x = Math.min(...xs) - margin, y = Math.min(...ys) - margin;
  return {x, y, width: Math.max(...xs) + margin - x, height: Math.max(...ys) + margin - y};
}

export const distance = (one, other) => Math.hypot(other.x - one.x, other.y - one.y);
export const between = (one, other, share) => ({
  x: one.x + (other.x - one.x) * share,
  y: one.y + (other.y - one.y) * share,
  size: one.size + (other.size - one.size) * share,
});
