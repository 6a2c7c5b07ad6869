//! One struct per thing that can happen. A message is a sentence; its fields are for machines.

/// Something that happened and is worth a line.
pub trait Event {
    /// Writes the line.
    fn emit(self);
}

macro_rules! event {
    ($(#[$doc:meta])* $level:ident $name:ident { $($(#[$about:meta])* $field:ident: $type:ty,)+ } $message:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a> {
            $($(#[$about])* pub $field: $type,)+
        }

        impl Event for $name<'_> {
            fn emit(self) {
                let Self { $($field),+ } = self;
                tracing::event!(tracing::Level::$level, $($field,)+ $message);
            }
        }
    };
}

event!(
    /// The host is up and takes requests.
    INFO HostStarted {
        /// Where it listens.
        address: &'a str,
        /// The log, without its password.
        log: &'a str,
        /// The tables, without their password.
        tables: &'a str,
        /// The watched folder.
        plugins: &'a str,
    }
    "The host is up"
);

event!(
    /// The host drains and goes.
    INFO HostStopping {
        /// Why: `interrupted`, `terminated`, `caught up`.
        why: &'a str,
    }
    "The host is stopping: it finishes what is under way"
);

event!(
    /// Another host owns the tables.
    INFO StandingBy {
        /// Where the owner listens, if it said so.
        owner: &'a str,
    }
    "Another host owns the tables database: standing by until it is gone"
);

event!(
    /// Something is wrong with the host as a whole.
    ERROR HostTrouble {
        /// What, and what to do.
        problem: &'a str,
    }
    "The host is in trouble"
);

event!(
    /// Something that was wrong with the host as a whole is over.
    INFO TroubleOver {
        /// What it was.
        problem: &'a str,
    }
    "The trouble is over"
);

event!(
    /// A plugin file is not deployed; what ran before goes on.
    WARN PluginRefused {
        /// Name in the folder.
        file: &'a str,
        /// Why, and what to do.
        why: &'a str,
    }
    "A plugin file was refused; what ran before goes on"
);

event!(
    /// A plugin file was taken.
    INFO PluginDeployed {
        /// Name in the folder.
        file: &'a str,
        /// The plugin.
        plugin: &'a str,
        /// Its version.
        version: &'a str,
        /// Digest of the file, shortened.
        digest: &'a str,
    }
    "A plugin was deployed"
);

event!(
    /// A generation is being filled.
    INFO GenerationStarted {
        /// The projection.
        projection: &'a str,
        /// The generation.
        generation: i64,
        /// The projector's version.
        version: &'a str,
        /// Where it begins.
        position: u64,
    }
    "A generation is being built"
);

event!(
    /// The public names show another generation.
    INFO CutOver {
        /// The projection.
        projection: &'a str,
        /// What readers see now.
        generation: i64,
        /// Its version.
        version: &'a str,
        /// The position that the tables reflect.
        position: u64,
    }
    "Readers see another generation"
);

event!(
    /// A projection stopped at a fault.
    ERROR ProjectionFaulted {
        /// The projection.
        projection: &'a str,
        /// The generation: `g7`.
        generation: &'a str,
        /// The event's position; 0 when it is about none.
        position: u64,
        /// What failed, why, and what to do.
        fault: &'a str,
        /// The guest's backtrace.
        trace: &'a str,
    }
    "A projection stopped; its tables stay readable"
);

event!(
    /// A projection waits and tries again.
    WARN ProjectionRetrying {
        /// The projection.
        projection: &'a str,
        /// The generation.
        generation: i64,
        /// How many times it was tried.
        attempts: u64,
        /// How long it waits, in milliseconds.
        wait_ms: u64,
        /// What failed.
        error: &'a str,
    }
    "A projection waits and tries again"
);

event!(
    /// A projection goes on after a fault or a wait.
    INFO ProjectionRecovered {
        /// The projection.
        projection: &'a str,
        /// The generation.
        generation: i64,
    }
    "A projection goes on"
);

event!(
    /// A line that a guest wrote.
    INFO GuestLine {
        /// The projection.
        projection: &'a str,
        /// The guest's own level.
        guest_level: &'a str,
        /// The line.
        line: &'a str,
    }
    "A plugin says"
);

event!(
    /// A person asked for something.
    INFO Asked {
        /// Whose token it was.
        by: &'a str,
        /// The projection.
        projection: &'a str,
        /// What was asked, as JSON.
        verb: &'a str,
        /// The answer.
        answer: &'a str,
    }
    "A projection was asked to do something"
);

event!(
    /// An admin's action is over, and the event log did not take what came of it.
    ERROR AuditIncomplete {
        /// Whose token it was.
        by: &'a str,
        /// What was asked.
        action: &'a str,
        /// What came of it.
        outcome: &'a str,
        /// Why it is not on record.
        error: &'a str,
    }
    "What came of an admin's action could not be put on record in the event log"
);

event!(
    /// The file of the tokens was read again.
    INFO TokensRead {
        /// The file.
        file: &'a str,
        /// How many tokens it holds.
        tokens: u64,
    }
    "The tokens were read again"
);

event!(
    /// The file of the tokens cannot be used; those of before stay good.
    ERROR TokensRefused {
        /// What is wrong with it.
        error: &'a str,
    }
    "The file of the tokens cannot be used; those of before stay good"
);

event!(
    /// The certificate was read again.
    INFO TlsRead {
        /// Its file.
        certificate: &'a str,
    }
    "The certificate was read again"
);

event!(
    /// Certificate or key cannot be used; those of before stay in use.
    ERROR TlsRefused {
        /// What is wrong.
        error: &'a str,
    }
    "Certificate or key cannot be used; those of before stay in use"
);

event!(
    /// Other machines reach the host without TLS.
    WARN PlainHttp {
        /// Where it listens.
        address: &'a str,
    }
    "Tokens and data travel in the clear to whoever calls from other machines; only a proxy in front that does TLS makes this safe"
);

event!(
    /// A connection was turned away.
    WARN ConnectionsFull {
        /// Where the host listens.
        address: &'a str,
        /// How many there are, and may be.
        connections: u64,
    }
    "Connections are turned away: there are as many as there may be ([host] connections_max)"
);

event!(
    /// A request to the admin surface was refused before it reached a handler.
    WARN RequestRefused {
        /// The path asked for.
        path: &'a str,
        /// Why.
        why: &'a str,
    }
    "A request to the admin surface was refused"
);

event!(
    /// A plugin is being built from its sources.
    INFO PluginBuilding {
        /// The project's folder.
        project: &'a str,
    }
    "A plugin is being built"
);

event!(
    /// A plugin was built from its sources.
    INFO PluginBuilt {
        /// The project's folder.
        project: &'a str,
        /// The file in the plugin folder.
        file: &'a str,
        /// Whether its bytes differ from before.
        changed: bool,
        /// How long it took.
        time: &'a str,
    }
    "A plugin was built"
);

event!(
    /// A plugin does not build; what the compiler said follows.
    ERROR PluginNotBuilt {
        /// The project's folder.
        project: &'a str,
    }
    "A plugin does not build; what ran before goes on"
);

event!(
    /// A request was answered.
    DEBUG RequestAnswered {
        /// The id that it came with, or was given.
        request_id: &'a str,
        /// The method.
        method: &'a str,
        /// The template of its path.
        route: &'a str,
        /// The status of the answer.
        status: u16,
        /// Time to the beginning of the answer.
        time_ms: f64,
        /// Whose token it came with.
        token: Option<&'a str>,
        /// The trace that it belongs to, with a collector.
        trace_id: Option<&'a str>,
    }
    "A request was answered"
);

event!(
    /// A subscription is ended because its client does not keep up.
    WARN SubscriberDropped {
        /// Whose token it was.
        by: &'a str,
        /// What was followed: `changes`, `events`.
        feed: &'a str,
        /// Why.
        why: &'a str,
    }
    "A subscriber is dropped"
);

event!(
    /// A subscription ended before its client had all of it.
    WARN SubscriptionEnded {
        /// Whose token it was.
        by: &'a str,
        /// What was followed: `changes`, `events`.
        feed: &'a str,
        /// Why.
        why: &'a str,
    }
    "A subscription ended early"
);

event!(
    /// What subscribers follow cannot be read; it is tried again.
    WARN FeedFailing {
        /// What is followed: `changes`, `events`.
        feed: &'a str,
        /// Why.
        error: &'a str,
    }
    "What subscribers follow cannot be read: they wait"
);
