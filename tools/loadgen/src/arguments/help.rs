//! The texts around the flags in `--help`.

/// What the program is for.
pub(super) const ABOUT: &str = "Opens WebSocket connections by the thousand or million, sends messages at a steady rate, and checks \
that every one arrives once, in order, and when.";

/// What stands below the flags in every help.
pub(super) const EXAMPLES: &str = "\
Examples:
  How fast does the server accept? 10,000 connections, 500 a second:
    loadgen connect --url ws://127.0.0.1:8000/echo --connections 10000 --rate 500

  Hold 100,000 logged-in users, each subscribed to one of 1,000 channels, for a minute:
    loadgen idle --url ws://127.0.0.1:8000/connection/websocket --connections 100000 \\
            --subscribe --channels 1000 --token-secret SECRET --duration 60

  A scenario from a file, with another place to connect to:
    loadgen run tools/loadgen/scenarios/fanout.toml --url ws://10.0.0.1:8000/connection/websocket

  How long do 10,000 clients take to be back after half of them were cut off?
    loadgen storm --url ws://127.0.0.1:8000/connection/websocket --connections 10000 --rate 10 \\
            --channels 100 --duration 30 --expect 'comeback.max<10s' --expect 'lost==0' --html storm.html

  Echo latency at 50,000 messages a second over 200 connections (open loop):
    loadgen echo --url ws://127.0.0.1:8000/echo --connections 200 --rate 50000 --duration 30

  Echo throughput, 16 messages outstanding on each connection (closed loop):
    loadgen echo --url ws://127.0.0.1:8000/echo --connections 200 --depth 16 --size 1KiB

  Fan-out: 10 messages a second to 5,000 subscribers of one channel, result as JSON:
    loadgen fanout --url ws://127.0.0.1:8000/connection/websocket --connections 5000 \\
            --rate 10 --duration 30 --json result.json

  The same through three nodes, every channel with readers on each:
    loadgen fanout --url ws://10.0.0.1:8000/connection/websocket,ws://10.0.0.2:8000/connection/websocket,\
            ws://10.0.0.3:8000/connection/websocket --connections 5000 --channels 10 --publishers 3

How time is measured:
  With a rate, messages are due at fixed times whatever the server does, and
  a latency counts from the time a message was due: a stall shows in every
  message that it delayed. Without a rate (closed loop), a message is sent
  when an earlier one has come back, and its latency counts from then.

Exit codes:
  0  all connections opened and stayed, all messages arrived once and in order;
     with --expect: all expectations were met
  1  connections failed, or messages were lost, duplicated, out of order or damaged;
     or there is no result: an agent was lost, or a file could not be written
  2  usage
  3  with --expect: an expectation was not met
  4  with --expect: the generator was itself the bottleneck, so that the result says
     little of the server. It is when a thread of it had no time left, or when
     messages left so late (lag) that it makes half of their latency";

/// What stands below the flags of `agent`.
pub(super) const AGENT_EXAMPLE: &str = "\
Example:
  openssl rand -hex 32 > key                                  once; the same file everywhere
  loadgen agent --listen 0.0.0.0:7900 --key key               on machine1 and machine2
  loadgen fanout --url ws://10.0.0.1:8000/connection/websocket --connections 5000 --rate 10 \\
          --agents machine1:7900,machine2:7900 --agents-key key

An agent serves one controller after the other, until SIGINT or SIGTERM.";
