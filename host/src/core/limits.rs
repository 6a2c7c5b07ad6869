//! Every limit by name, with why you would raise it and why lower it. Units are in the names.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one call of a plugin may use. A limit never skips an event: the batch rolls back and the message names the knob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginLimits {
    /// Bytes of a plugin file. Raise it for plugins that carry a large runtime; lower it to keep uploads small.
    pub plugin_bytes_max: u64,
    /// Linear memory and tables of one instance. Raise it for large runtimes; lower it to run many plugins.
    pub memory_bytes_max: u64,
    /// Time of one call. Raise it for slow languages; lower it to notice a spinning plugin sooner.
    pub call_ms_max: u64,
    /// Stack of the guest. Raise it for deep recursion over data.
    pub stack_bytes_max: u64,
    /// Changes that one call may make. Raise it for events that touch very many rows.
    pub changes_per_call_max: u64,
    /// Bytes of one change or row. Raise it for large texts in rows; lower it to keep the row cache useful.
    pub bytes_per_change_max: u64,
    /// Log lines kept per call; later ones are counted only.
    pub log_lines_per_call_max: u64,
    /// Bytes kept of one log line.
    pub log_line_bytes_max: u64,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            plugin_bytes_max: 64 << 20,
            memory_bytes_max: 256 << 20,
            call_ms_max: 5_000,
            stack_bytes_max: 1 << 20,
            changes_per_call_max: 100_000,
            bytes_per_change_max: 1 << 20,
            log_lines_per_call_max: 100,
            log_line_bytes_max: 2_000,
        }
    }
}

/// How a projection moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineLimits {
    /// Events of one plugin call. More than 4,000 gain next to nothing; lower it for plugins whose calls are slow.
    pub batch_events_max: u64,
    /// Bytes of one plugin call's events.
    pub batch_bytes_max: u64,
    /// Events of one table transaction while behind the head. Raise it for rebuild speed; lower it for short
    /// transactions.
    pub flush_events_max: u64,
    /// Batches that may wait between two threads of a pipeline. Raise it for jittery disks; lower it to save memory.
    pub queue_batches_max: u64,
    /// Bytes of rows that one generation keeps in memory. Raise it until the hot rows fit; a table that fits whole is
    /// never read while it is built.
    pub cache_bytes_max: u64,
    /// Longest table transaction of a rebuild beside live projections, in milliseconds. Raise it for rebuild speed;
    /// lower it for live latency.
    pub rebuild_transaction_ms_max: u64,
    /// Most workers of one rebuild, of a projector that declares `partition = stream`; never more than there are cores.
    /// Lower it to leave cores to others.
    pub rebuild_workers_max: u64,
    /// Share of the time that a rebuild may use, in percent: 100 is as fast as the machine allows.
    pub rebuild_share_percent: u64,
}

impl Default for PipelineLimits {
    fn default() -> Self {
        Self {
            batch_events_max: 4_000,
            batch_bytes_max: 4 << 20,
            flush_events_max: 100_000,
            queue_batches_max: 8,
            cache_bytes_max: 256 << 20,
            rebuild_transaction_ms_max: 12,
            rebuild_workers_max: 8,
            rebuild_share_percent: 100,
        }
    }
}

impl PipelineLimits {
    /// How long a rebuild leaves the machine to others after it has worked for so long.
    pub fn rebuild_wait(&self, worked: Duration) -> Duration {
        let share = self.rebuild_share_percent.clamp(1, 100);
        worked
            .mul_f64((100 - share) as f64 / share as f64)
            .min(REBUILD_WAIT_MAX)
    }
}

/// Longest rest of a rebuild that is throttled: it must notice soon that it is told to stop.
const REBUILD_WAIT_MAX: Duration = Duration::from_secs(1);

/// What a projection does with an event that its plugin cannot take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultPolicy {
    /// Whether it stops there, or parks the event and the later ones of its stream and goes on.
    pub on_fault: OnFault,
    /// Streams of one generation that may be parked before it pauses. Raise it where streams are small and many may be
    /// wrong; lower it to hear of a broken plugin sooner.
    pub parked_streams_max: u64,
    /// Events of one generation that may be parked before it pauses. Raise it where parked streams go on being written
    /// to; lower it to hear of them sooner.
    pub parked_events_max: u64,
}

/// What to do about a fault in plugin or event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFault {
    /// Stop before the event; the tables stay readable.
    Pause,
    /// Park the event and every later one of its stream, in order; other streams go on.
    DeadLetter,
}

impl Default for FaultPolicy {
    fn default() -> Self {
        Self {
            on_fault: OnFault::Pause,
            parked_streams_max: 1_000,
            parked_events_max: 100_000,
        }
    }
}

/// What an append may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendLimits {
    /// Whether `metadata.reason` must be there.
    pub reason_required: bool,
    /// Shortest reason, in characters.
    pub reason_chars_min: u64,
    /// Longest reason, in characters.
    pub reason_chars_max: u64,
    /// Data and metadata of one event. Raise it for documents; lower it to keep projections quick.
    pub event_bytes_max: u64,
    /// Events of one append. A larger one holds the log's counter for longer.
    pub events_per_append_max: u64,
    /// Nesting of JSON.
    pub json_depth_max: u64,
    /// Bytes of a stream id.
    pub stream_id_bytes_max: u64,
    /// Bytes of a stream type or event type.
    pub type_bytes_max: u64,
    /// Bytes of an idempotency key.
    pub idempotency_key_bytes_max: u64,
    /// Appends gathered into one transaction. Raise it for many writers; lower it for latency under load.
    pub group_appends_max: u64,
}

impl Default for AppendLimits {
    fn default() -> Self {
        Self {
            reason_required: true,
            reason_chars_min: 10,
            reason_chars_max: 500,
            event_bytes_max: 1 << 20,
            events_per_append_max: 10_000,
            json_depth_max: 128,
            stream_id_bytes_max: 512,
            type_bytes_max: 256,
            idempotency_key_bytes_max: 256,
            group_appends_max: 256,
        }
    }
}

/// What happens to appended events of a type and version without a JSON Schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownTypes {
    /// They go in.
    #[default]
    Allow,
    /// They are refused.
    Refuse,
}

/// What it may take to make the rows of one stream as they were at a time. Each run has a plugin's memory
/// ([`PluginLimits::memory_bytes_max`]) beside these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateLimits {
    /// Events of the stream that are looked at. Raise it for long streams; lower it to answer or refuse sooner.
    pub events_max: u64,
    /// Rows of all tables together. Raise it for streams with very many rows; lower it to keep answers small.
    pub rows_max: u64,
    /// Bytes of these rows in memory. Raise it for large rows; lower it to leave memory to others.
    pub bytes_max: u64,
    /// Time of one run. Raise it for slow plugins; lower it to free a busy host sooner.
    pub time_ms_max: u64,
    /// Runs at a time, in one host. Raise it where there are cores to spare; lower it to leave them to projections.
    pub runs_max: u64,
}

impl Default for StateLimits {
    fn default() -> Self {
        Self {
            events_max: 100_000,
            rows_max: 10_000,
            bytes_max: 16 << 20,
            time_ms_max: 15_000,
            runs_max: 2,
        }
    }
}

/// Where traces go, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceExport {
    /// Where spans are posted: `http://127.0.0.1:4318/v1/traces`.
    pub traces_url: String,
    /// Share of the requests that are traced, of those that belong to nobody's trace. Lower it for many requests.
    pub sample_percent: u64,
    /// Reads, upcastings, calls and flushes of projections that are traced in a second. Raise it to see more of a rebuild;
    /// lower it to spare the collector.
    pub pipeline_spans_per_second_max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebuild_works_for_its_share_and_rests_for_the_others() {
        let wait = |rebuild_share_percent, worked_ms| {
            let limits = PipelineLimits {
                rebuild_share_percent,
                ..PipelineLimits::default()
            };
            limits.rebuild_wait(Duration::from_millis(worked_ms)).as_millis()
        };
        assert_eq!([wait(100, 500), wait(50, 500), wait(20, 100)], [0, 500, 400]);
        assert_eq!(wait(1, 10), 990);
        assert_eq!(
            wait(1, 5_000),
            REBUILD_WAIT_MAX.as_millis(),
            "it must notice a stop soon"
        );
    }
}
