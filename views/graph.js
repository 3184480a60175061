// Lays a drawing (views/graph.py) out with dagre and writes it as SVG. Needs no page: pictures are made by the same code.
"use strict";

const escapeText = text => String(text).replace(/[&<>"']/g, sign => `&#${sign.charCodeAt(0)};`);
const short = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);
const wrapped = (text, length) => text.match(new RegExp(`\\S.{0,${length - 1}}(?=\\s|$)|\\S+`, "g")) || [];
const grouped = number => String(number).replace(/\B(?=(\d{3})+$)/g, ",");

function compact(number) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]])
    if (number >= size) return `${(number / size).toPrecision(3).replace(/\.0+$/, "")} ${unit}`;
  return String(number);
}

// The lines of a box: [text, class].
function linesOf(node) {
  const lines = [[short(node.title, 34), "title"], [node.kind, "kind"]];
  if (node.shares) lines.push([short(`weights of ${node.shares}`, 34), "small"]);
  const cost = [];
  if (node.parameters && node.parameters !== "0") cost.push(`${node.parameters} params`);
  if (node.multiply_adds) cost.push(`${compact(node.multiply_adds)} mult-adds`);
  if (cost.length) lines.push([short(cost.join(" · "), 48), "small"]);
  if (node.members) lines.push([`${node.members} layers`, "small"]);
  if (node.is_output) lines.push(["output", "mark"]);
  for (const problem of node.problems) {
    const all = wrapped("✗ " + problem, 44), shown = all.slice(0, 5);
    if (all.length > shown.length) shown.push("…");
    for (const line of shown) lines.push([short(line, 60), "bad"]);
  }
  return lines;
}

// A group that is folded is one box: what its layers have together.
function folded(drawing, closed) {
  const boxes = new Map(), owner = new Map();
  for (const node of drawing.nodes) {
    if (!node.group || !closed.includes(node.group)) {
      boxes.set(node.id, node);
      owner.set(node.id, node.id);
      continue;
    }
    const id = `group ${node.group}`;
    const box = boxes.get(id) || {
      id, title: node.group, kind: "group", family: "group", group: "", parameters: "", settings: [], notes: [],
      problems: [], members: 0, multiply_adds: 0, shares: "", is_output: false, shape: "",
    };
    box.members += 1;
    box.multiply_adds += node.multiply_adds || 0;
    box.problems = box.problems.concat(node.problems);
    box.is_output = box.is_output || node.is_output;
    boxes.set(id, box);
    owner.set(node.id, id);
  }
  const edges = drawing.edges
    .map(edge => ({ ...edge, source: owner.get(edge.source), target: owner.get(edge.target) }))
    .filter(edge => edge.source && edge.target && edge.source !== edge.target);
  return { nodes: [...boxes.values()], edges };
}

const LABEL = 16; // the height of the label of an edge

function placed({ nodes, edges }) {
  const graph = new dagre.graphlib.Graph({ compound: true, multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 24, edgesep: 14, ranksep: 30, marginx: 16, marginy: 16 });
  const groups = new Set(nodes.map(node => node.group).filter(Boolean));
  for (const group of groups) graph.setNode(`group ${group}`, {});
  for (const node of nodes) {
    const lines = linesOf(node);
    const width = Math.max(110, ...lines.map(([text, kind]) => text.length * (kind === "title" ? 8.9 : 6.9) + 30));
    graph.setNode(node.id, { width, height: 14 + 16 * lines.length, node, lines });
    if (node.group) graph.setParent(node.id, `group ${node.group}`);
  }
  edges.forEach((edge, number) => {
    const text = [edge.part, edge.shape && (edge.shape + (edge.is_masked ? " · mask" : ""))].filter(Boolean).join("  ");
    const size = text ? { width: text.length * 6.2 + 8, height: LABEL } : { width: 0, height: 0 };
    graph.setEdge(edge.source, edge.target, { ...size, labelpos: "c", edge, text }, String(number));
  });
  dagre.layout(graph);
  return { graph, groups };
}

// The points of an edge, from the lower border of a box to the upper one of another; upright beside boxes and where its
// label stands, so that it crosses no box and meets its label.
function route(points, from, to, heights) {
  if (from.y >= to.y) return points;
  const half = y => (heights.get(Math.round(y)) || LABEL) / 2;
  const inside = points.slice(1, -1).flatMap(({ x, y }) => [{ x, y: y - half(y) }, { x, y: y + half(y) }]);
  const border = (box, next, side) => {
    const most = box.width / 2 - 10, share = box.height / 2 / Math.max(1, Math.abs(next.y - box.y));
    const x = box.x + Math.max(-most, Math.min(most, (next.x - box.x) * share));
    return [{ x, y: box.y + side * box.height / 2 }, { x, y: box.y + side * half(box.y) }];
  };
  const all = [...border(from, inside[0], 1), ...inside, ...border(to, inside[inside.length - 1], -1).reverse()];
  return all.filter((point, i) => !i || Math.hypot(point.x - all[i - 1].x, point.y - all[i - 1].y) > 0.5);
}

// A line through points with round corners.
function path(points) {
  const at = point => `${point.x.toFixed(1)} ${point.y.toFixed(1)}`;
  const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  let line = `M${at(points[0])}`;
  for (let i = 1; i < points.length - 1; i++) line += ` Q${at(points[i])} ${at(middle(points[i], points[i + 1]))}`;
  return line + ` L${at(points[points.length - 1])}`;
}

function box({ x, y, width, height, node, lines }) {
  const left = x - width / 2, top = y - height / 2;
  const state = [node.family, node.problems.length ? "broken" : "", node.shares ? "shared" : "", node.is_output ? "last" : ""];
  const name = [node.title, node.kind, node.shape, ...node.problems].filter(Boolean).join(", ");
  const texts = lines.map(([text, kind], line) =>
    `<text class="${kind}" x="${(left + 18).toFixed(1)}" y="${(top + 20 + 16 * line).toFixed(1)}">${escapeText(text)}</text>`);
  return `<g class="box ${state.join(" ").trim()}" data-id="${escapeText(node.id)}" tabindex="0" role="button"` +
    ` aria-label="${escapeText(name)}"><title>${escapeText(name)}</title><rect class="frame" x="${left.toFixed(1)}" y="${top.toFixed(1)}" rx="6"` +
    ` width="${width.toFixed(1)}" height="${height.toFixed(1)}"/><rect class="bar" x="${left.toFixed(1)}"` +
    ` y="${top.toFixed(1)}" rx="3" width="7" height="${height.toFixed(1)}"/>${texts.join("")}</g>`;
}

function frame(name, { x, y, width, height }) {
  const left = (x - width / 2).toFixed(1), top = (y - height / 2).toFixed(1);
  return `<g class="group" data-group="${escapeText(name)}" tabindex="0" role="button" aria-expanded="true"` +
    ` aria-label="${escapeText(`group ${name}: fold`)}"><rect x="${left}" y="${top}" rx="10" width="${width.toFixed(1)}"` +
    ` height="${height.toFixed(1)}"/><text class="small" x="${+left + 10}" y="${+top + 14}">▾ ${escapeText(name)}</text></g>`;
}

// The drawing as SVG, its groups folded that are named in `closed`.
function draw(drawing, closed) {
  const { graph, groups } = placed(folded(drawing, closed));
  const { width, height } = graph.graph();
  const parts = [...groups].map(group => frame(group, graph.node(`group ${group}`)));
  const labels = [], heights = new Map();
  const boxes = graph.nodes().map(id => graph.node(id)).filter(one => one.node);
  for (const { y, height } of boxes) heights.set(Math.round(y), Math.max(height, heights.get(Math.round(y)) || 0));
  for (const name of graph.edges()) {
    const { points, x, y, text, edge } = graph.edge(name);
    const line = route(points, graph.node(name.v), graph.node(name.w), heights);
    const ends = `data-source="${escapeText(edge.source)}" data-target="${escapeText(edge.target)}"`;
    parts.push(`<path class="edge${edge.is_masked ? " masked" : ""}" ${ends} d="${path(line)}" marker-end="url(#arrow)"/>`);
    if (text) labels.push(`<text class="label" text-anchor="middle" x="${x.toFixed(1)}" y="${(y + 4).toFixed(1)}">${escapeText(text)}</text>`);
  }
  parts.push(...boxes.map(box));
  return `<svg class="graph" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${Math.ceil(width)} ${Math.ceil(height)}" width="${Math.ceil(width)}"` +
    ` height="${Math.ceil(height)}" role="group" aria-label="graph of the model"><defs><marker id="arrow" viewBox="0 0 8 8" refX="7"` +
    ` refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>` +
    `${parts.join("")}${labels.join("")}</svg>`;
}
