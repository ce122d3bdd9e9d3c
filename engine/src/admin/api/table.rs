//! The table of methods: names by which requests find them, parameters and results as they are documented.

use super::methods::Method;

/// A method as it is told of.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) method: Method,
    pub(super) summary: &'static str,
    pub(super) params: &'static [Field],
    pub(super) result: &'static [Field],
}

/// A parameter, or a part of a result.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) is_required: bool,
    pub(super) doc: &'static str,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Any,
    Flag,
    Whole,
    Text,
    Texts,
    TextMap,
    Object,
    Objects,
}

impl Field {
    const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, is_required: true, doc }
    }

    const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, is_required: false, doc }
    }
}

/// Every method, but for the batch, which is made of them.
pub(super) static METHODS: &[Entry] = &[
    Entry {
        name: "publish",
        method: Method::Publish,
        summary: "Publish to a channel",
        params: &[
            Field::required("channel", Kind::Text, "where to"),
            Field::optional("data", Kind::Any, "the payload, any JSON; this or b64data"),
            Field::optional("b64data", Kind::Text, "the payload in base64: any bytes"),
            Field::optional(
                "idempotency_key",
                Kind::Text,
                "of several publications with the same key to the same channel within five minutes one is done; kept by this node",
            ),
            Field::optional("skip_history", Kind::Flag, "error 108, unless false"),
            Field::optional("delta", Kind::Flag, "taken, and without effect"),
            Field::optional("tags", Kind::TextMap, "error 108"),
            Field::optional("version", Kind::Whole, "error 108, unless 0"),
            Field::optional("version_epoch", Kind::Text, "as version"),
        ],
        result: &[
            Field::optional("offset", Kind::Whole, "place in the channel's history"),
            Field::optional("epoch", Kind::Text, "of that history"),
        ],
    },
    Entry {
        name: "broadcast",
        method: Method::Broadcast,
        summary: "Publish the same to many channels",
        params: &[
            Field::required("channels", Kind::Texts, "where to"),
            Field::optional("data", Kind::Any, "the payload, any JSON; this or b64data"),
            Field::optional("b64data", Kind::Text, "the payload in base64: any bytes"),
            Field::optional(
                "idempotency_key",
                Kind::Text,
                "of several publications with the same key to the same channel within five minutes one is done; kept by this node",
            ),
            Field::optional("skip_history", Kind::Flag, "error 108, unless false"),
            Field::optional("delta", Kind::Flag, "taken, and without effect"),
            Field::optional("tags", Kind::TextMap, "error 108"),
            Field::optional("version", Kind::Whole, "error 108, unless 0"),
            Field::optional("version_epoch", Kind::Text, "as version"),
        ],
        result: &[Field::required(
            "responses",
            Kind::Objects,
            "a result or an error for each channel, in order",
        )],
    },
    Entry {
        name: "subscribe",
        method: Method::Subscribe,
        summary: "Subscribe connections of a user to a channel",
        params: &[
            Field::required("user", Kind::Text, "whose connections, on all nodes"),
            Field::optional("client", Kind::Text, "only this client id"),
            Field::optional("session", Kind::Text, "no connection has one: nothing is done"),
            Field::required("channel", Kind::Text, "to what"),
            Field::optional("data", Kind::Any, "for the client"),
            Field::optional("b64data", Kind::Text, "the same in base64"),
            Field::optional(
                "expire_at",
                Kind::Whole,
                "Unix seconds at which the subscription ends; 0: never",
            ),
            Field::optional("info", Kind::Any, "taken, and without effect"),
            Field::optional("b64info", Kind::Text, "likewise"),
            Field::optional("recover_since", Kind::Object, "likewise"),
            Field::optional("override", Kind::Object, "likewise"),
        ],
        result: &[],
    },
    Entry {
        name: "unsubscribe",
        method: Method::Unsubscribe,
        summary: "Unsubscribe connections of a user from a channel",
        params: &[
            Field::required("user", Kind::Text, "whose connections, on all nodes"),
            Field::optional("client", Kind::Text, "only this client id"),
            Field::optional("session", Kind::Text, "no connection has one: nothing is done"),
            Field::required("channel", Kind::Text, "from what"),
        ],
        result: &[],
    },
    Entry {
        name: "disconnect",
        method: Method::Disconnect,
        summary: "Close connections of a user",
        params: &[
            Field::required("user", Kind::Text, "whose connections, on all nodes"),
            Field::optional("client", Kind::Text, "only this client id"),
            Field::optional("session", Kind::Text, "no connection has one: nothing is done"),
            Field::optional("whitelist", Kind::Texts, "client ids that stay"),
            Field::optional(
                "disconnect",
                Kind::Object,
                "code (3000 to 4999) and reason of the close; 3503, force disconnect, unless told",
            ),
        ],
        result: &[],
    },
    Entry {
        name: "refresh",
        method: Method::Refresh,
        summary: "Prolong connections of a user, or let them expire",
        params: &[
            Field::required("user", Kind::Text, "whose connections, on all nodes"),
            Field::optional("client", Kind::Text, "only this client id"),
            Field::optional("session", Kind::Text, "no connection has one: nothing is done"),
            Field::optional("expired", Kind::Flag, "close them as expired (3005)"),
            Field::optional(
                "expire_at",
                Kind::Whole,
                "Unix seconds until which they may last; 0: without end",
            ),
            Field::optional("info", Kind::Any, "other connection info"),
        ],
        result: &[],
    },
    Entry {
        name: "presence",
        method: Method::Presence,
        summary: "Clients of a channel",
        params: &[Field::required("channel", Kind::Text, "of which")],
        result: &[Field::required("presence", Kind::Object, "clients by their ids")],
    },
    Entry {
        name: "presence_stats",
        method: Method::PresenceStats,
        summary: "How many clients and users a channel has",
        params: &[Field::required("channel", Kind::Text, "of which")],
        result: &[
            Field::required("num_clients", Kind::Whole, "clients"),
            Field::required("num_users", Kind::Whole, "users"),
        ],
    },
    Entry {
        name: "history",
        method: Method::History,
        summary: "Publications of a channel's history",
        params: &[
            Field::required("channel", Kind::Text, "of which"),
            Field::optional("limit", Kind::Whole, "at most; 0: only the position"),
            Field::optional("since", Kind::Object, "offset and epoch to go on behind"),
            Field::optional("reverse", Kind::Flag, "newest first"),
        ],
        result: &[
            Field::required("publications", Kind::Objects, "in order"),
            Field::required("offset", Kind::Whole, "of the latest"),
            Field::required("epoch", Kind::Text, "of the history"),
        ],
    },
    Entry {
        name: "history_remove",
        method: Method::HistoryRemove,
        summary: "Forget a channel's history",
        params: &[Field::required("channel", Kind::Text, "of which")],
        result: &[],
    },
    Entry {
        name: "channels",
        method: Method::Channels,
        summary: "Channels that have subscribers",
        params: &[Field::optional(
            "pattern",
            Kind::Text,
            "what names are like: * stands for any letters, ? for one",
        )],
        result: &[Field::required("channels", Kind::Object, "num_clients by the channel's name")],
    },
    Entry {
        name: "info",
        method: Method::Info,
        summary: "The nodes with their numbers",
        params: &[],
        result: &[Field::required(
            "nodes",
            Kind::Objects,
            "uid, name, version, num_clients, num_users, num_channels, num_subs, uptime of each",
        )],
    },
    Entry {
        name: "rpc",
        method: Method::Rpc,
        summary: "Call what the server serves to clients",
        params: &[
            Field::required("method", Kind::Text, "which"),
            Field::optional("params", Kind::Any, "what it is given"),
        ],
        result: &[Field::required("data", Kind::Any, "what it gives")],
    },
];
