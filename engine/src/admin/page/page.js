"use strict";

/** A small client of the JSON client protocol: connect, subscribe, publish, and answers to pings. */
class Client {
  constructor(url, token, events) {
    this.events = events;
    this.lastId = 0;
    this.waiting = new Map();
    this.answersPings = false;
    this.socket = new WebSocket(url);
    this.socket.onopen = () => this.connect(token);
    this.socket.onmessage = (message) => this.receive(message.data);
    this.socket.onclose = (close) => this.closed(close);
  }

  async connect(token) {
    const request = token ? { token, name: "page" } : { name: "page" };
    try {
      const { connect } = await this.call({ connect: request });
      this.answersPings = connect.pong === true;
      this.events.connected(connect);
    } catch (error) {
      this.events.problem(`connect: ${error.message}`);
      this.socket.close();
    }
  }

  subscribe(channel) {
    return this.call({ subscribe: { channel } });
  }

  publish(channel, data) {
    return this.call({ publish: { channel, data } });
  }

  close() {
    this.socket.close(1000);
  }

  /** Sends a command; resolves with its reply, rejects with its error. */
  call(command) {
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.send({ id, ...command });
    });
  }

  send(command) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(command));
  }

  /** One WebSocket message holds one or more protocol messages, one a line. */
  receive(text) {
    for (const line of text.trim().split("\n")) this.handle(JSON.parse(line));
  }

  handle(reply) {
    if (reply.id) {
      const { resolve, reject } = this.waiting.get(reply.id) ?? {};
      this.waiting.delete(reply.id);
      if (reply.error) reject?.(new Error(`${reply.error.message} (${reply.error.code})`));
      else resolve?.(reply);
    } else if (reply.push) {
      this.events.push(reply.push);
    } else if (this.answersPings) {
      this.send({});
    }
  }

  closed({ code, reason }) {
    for (const { reject } of this.waiting.values()) reject(new Error("the connection is closed"));
    this.waiting.clear();
    this.events.closed(code, reason);
  }
}

const LOG_LINES_MAX = 200;
const byId = (id) => document.getElementById(id);
let endpoint = null;

/** One of the two clients on the page: its fields, its buttons, its log. */
function panel(name) {
  const part = (id) => byId(`${name}-${id}`);
  let client = null;

  function log(kind, text) {
    const line = document.createElement("li");
    const time = document.createElement("time");
    line.dataset.kind = kind;
    time.textContent = new Date().toTimeString().slice(0, 8);
    line.append(time, text);
    const list = part("log");
    list.append(line);
    while (list.children.length > LOG_LINES_MAX) list.firstChild.remove();
    list.scrollTop = list.scrollHeight;
  }

  function show(state) {
    part("state").textContent = part("state").dataset.state = state;
    part("connect").textContent = client ? "Disconnect" : "Connect";
    part("subscribe").disabled = part("publish").disabled = state !== "connected";
  }

  const events = {
    connected(result) {
      show("connected");
      log("state", `connected as ${result.client}`);
      for (const channel of Object.keys(result.subs ?? {})) log("state", `subscribed to ${channel} by the server`);
    },
    closed(code, reason) {
      client = null;
      show("closed");
      log("state", `closed: ${code}${reason ? ` ${reason}` : ""}`);
    },
    problem(text) {
      log("problem", text);
    },
    push({ channel, pub, unsubscribe, message }) {
      if (pub) log("publication", `${channel}: ${JSON.stringify(pub.data)}`);
      else if (unsubscribe) log("state", `unsubscribed from ${channel}: ${unsubscribe.code} ${unsubscribe.reason}`);
      else if (message) log("publication", JSON.stringify(message.data));
    },
  };

  part("connect").onclick = () => {
    if (client) return client.close();
    if (!endpoint) return log("problem", "the node has not told its address yet");
    client = new Client(endpoint, part("token").value.trim(), events);
    show("connecting");
  };
  part("subscribe").onclick = async () => {
    const channel = part("channel").value;
    try {
      await client.subscribe(channel);
      log("state", `subscribed to ${channel}`);
    } catch (error) {
      log("problem", `subscribe to ${channel}: ${error.message}`);
    }
  };
  part("publish").onclick = async () => {
    const channel = part("channel").value;
    try {
      await client.publish(channel, jsonOrText(part("message").value));
    } catch (error) {
      log("problem", `publish to ${channel}: ${error.message}`);
    }
  };
  for (const [field, button] of [["token", "connect"], ["channel", "subscribe"], ["message", "publish"]]) {
    part(field).onkeydown = (event) => event.key === "Enter" && part(button).click();
  }
}

function jsonOrText(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The node's numbers: read once a second, rates from one reading to the next. */
const HISTORY = 60;
const histories = new Map();
let previous = null;

function rate(status, read) {
  const span = previous && (status.time_ms - previous.time_ms) / 1000;
  return span > 0 ? Math.max(0, (read(status) - read(previous)) / span) : 0;
}

function quantity(value) {
  if (value < 1000) return value < 10 && value % 1 ? value.toFixed(1) : String(Math.round(value));
  const exponent = Math.min(3, Math.floor(Math.log10(value) / 3));
  return `${(value / 1000 ** exponent).toPrecision(3)} ${["", "k", "M", "G"][exponent]}`;
}

function duration(seconds) {
  const [days, hours, minutes] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function number(name, value, text) {
  document.querySelector(`[data-metric="${name}"]`).textContent = text ?? quantity(value);
  const canvas = document.querySelector(`[data-history="${name}"]`);
  if (!canvas) return;
  const values = histories.get(name) ?? [];
  values.push(value);
  histories.set(name, values.slice(-HISTORY));
  draw(canvas, histories.get(name));
}

function draw(canvas, values) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const top = Math.max(...values, 1e-9);
  context.fillStyle = getComputedStyle(canvas).color;
  values.forEach((value, index) => {
    const bar = (value / top) * height * 0.9;
    context.globalAlpha = 0.35;
    context.fillRect(width - ((values.length - index) * width) / HISTORY, height - bar, width / HISTORY - scale, bar);
  });
}

function showShards(connections) {
  const area = byId("shards");
  while (area.children.length < connections.length) {
    const row = document.createElement("div");
    row.className = "shard";
    row.append(document.createElement("span"), document.createElement("meter"), document.createElement("output"));
    row.firstChild.textContent = `shard ${area.children.length}`;
    area.append(row);
  }
  const top = Math.max(...connections, 1);
  connections.forEach((count, shard) => {
    const [, meter, output] = area.children[shard].children;
    meter.value = count / top;
    output.textContent = quantity(count);
    output.dataset.shard = shard;
  });
}

/** The nodes of the fleet as this one sees them; nothing for a node without a fleet. */
function showFleet(fleet) {
  byId("fleet").hidden = !fleet;
  if (!fleet) return;
  const share = Math.round(100 * fleet.ownership);
  byId("fleet-view").textContent = `${fleet.cluster} · ${fleet.standing} · ${fleet.nodes} nodes · ${share} % owned here`;
  const members = fleet.members.map(({ name, state, draining, connections }) => {
    const row = document.createElement("li");
    const badge = document.createElement("span");
    badge.className = "badge";
    badge.textContent = badge.dataset.state = state === "alive" && draining ? "draining" : state;
    row.append(name, " ", badge, ` ${quantity(connections)} connections`);
    return row;
  });
  byId("members").replaceChildren(...members);
}

function address({ listen, tls }) {
  const [, host, port] = /^(.*):(\d+)$/.exec(listen[0]);
  const anyHost = ["0.0.0.0", "[::]"].includes(host);
  return `${tls ? "wss" : "ws"}://${anyHost ? location.hostname : host}:${port}/connection/websocket`;
}

function showState(state) {
  byId("node-state").textContent = byId("node-state").dataset.state = state;
}

function showStatus(status) {
  const count = (name) => status.counters[`roadstead_${name}`] ?? 0;
  const counter = (name) => (from) => from.counters[`roadstead_${name}`] ?? 0;
  endpoint = status.listen.length ? address(status) : null;
  byId("endpoint").textContent = endpoint ?? "no address";
  byId("node").textContent =
    `${status.node} · version ${status.version} · ${status.io} · ${status.shards} shards${status.insecure ? " · insecure" : ""}`;
  showState(status.state);
  number("connections", count("connections"));
  number("sessions", count("sessions"));
  number("subscriptions", count("subscriptions"));
  number("messages_s", rate(status, counter("messages_received_total")));
  number("deliveries_s", rate(status, counter("deliveries_total")));
  const cpu = 100 * rate(status, (from) => from.process.cpu_s ?? 0);
  number("cpu", cpu, `${cpu.toFixed(cpu < 10 ? 1 : 0)} %`);
  const memory = (status.process.resident_bytes ?? 0) / 2 ** 20;
  number("memory", memory, memory < 1024 ? `${memory.toFixed(1)} MiB` : `${(memory / 1024).toFixed(2)} GiB`);
  number("uptime", status.uptime_s, duration(status.uptime_s));
  showShards(status.shard_connections);
  showFleet(status.fleet);
  previous = status;
}

async function poll() {
  const key = sessionStorage.getItem("admin-key");
  try {
    const answer = await fetch("status", { headers: key ? { "X-API-Key": key } : {}, cache: "no-store" });
    byId("key-form").hidden = answer.status !== 401;
    if (answer.ok) showStatus(await answer.json());
    else showState("refused");
  } catch {
    showState("unreachable");
  }
  setTimeout(poll, 1000);
}

byId("key-form").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("admin-key", byId("admin-key").value);
};

panel("a");
panel("b");
poll();
