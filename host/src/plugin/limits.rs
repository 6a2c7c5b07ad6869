//! What one instance may use, counted while it runs.

use wasmtime::ResourceLimiter;

use crate::core::limits::PluginLimits;

/// Bytes that one table element costs the host.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// Core instances, memories and tables of one component: language runtimes use fewer than ten.
const PARTS_MAX: usize = 64;

/// Memory and changes of one call. The default allows nothing.
#[derive(Default)]
pub(super) struct Usage {
    memory_bytes_max: u64,
    changes_per_call_max: u64,
    bytes_per_change_max: u64,
    memory_bytes: u64,
    changes: u64,
    /// Set when growth was refused: the guest's abort that mostly follows is reported as this.
    refused: Option<Refused>,
}

/// A growth that was refused.
#[derive(Clone, Copy)]
struct Refused {
    wanted_bytes: u64,
}

impl Usage {
    pub(super) fn new(limits: &PluginLimits) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes_max,
            changes_per_call_max: limits.changes_per_call_max,
            bytes_per_change_max: limits.bytes_per_change_max,
            memory_bytes: 0,
            changes: 0,
            refused: None,
        }
    }

    /// Counts one change of so many bytes; the error names limit and knob.
    pub(super) fn change(&mut self, bytes: u64) -> Result<(), String> {
        if self.changes >= self.changes_per_call_max {
            return Err(format!(
                "the plugin made more than {} changes in one call; raise [limits] changes_per_call_max if it has to",
                self.changes_per_call_max
            ));
        }
        if bytes > self.bytes_per_change_max {
            return Err(format!(
                "the plugin made a change of {bytes} bytes, and {} are allowed; raise [limits] bytes_per_change_max \
                 if its rows have to be that large",
                self.bytes_per_change_max
            ));
        }
        self.changes += 1;
        Ok(())
    }

    /// Refuses an answer that would not fit the guest's memory.
    pub(super) fn fits_memory(&self, bytes: u64) -> Result<(), String> {
        if bytes <= self.memory_bytes_max {
            return Ok(());
        }
        Err(format!(
            "the plugin asked for rows of {} at once, and its memory may have {}; read fewer rows, or raise [limits] \
             memory_bytes_max",
            mebibytes(bytes),
            mebibytes(self.memory_bytes_max)
        ))
    }

    /// What it has now: memories and tables never shrink.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// What to say if the guest died of too little memory.
    pub(super) fn memory_refusal(&self) -> Option<String> {
        self.refused.map(|refused| {
            format!(
                "the plugin wanted {} of memory, and {} are allowed; raise [limits] memory_bytes_max if it needs \
                 that much",
                mebibytes(refused.wanted_bytes),
                mebibytes(self.memory_bytes_max)
            )
        })
    }

    fn grow(&mut self, current: u64, desired: u64) -> bool {
        let wanted_bytes = self.memory_bytes + desired.saturating_sub(current);
        if wanted_bytes > self.memory_bytes_max {
            self.refused = Some(Refused { wanted_bytes });
            return false;
        }
        self.memory_bytes = wanted_bytes;
        true
    }
}

impl ResourceLimiter for Usage {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current as u64, desired as u64))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(
            current as u64 * TABLE_ELEMENT_BYTES,
            desired as u64 * TABLE_ELEMENT_BYTES,
        ))
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }
}

/// `256 MiB`, `1.5 MiB`, `64 KiB`.
pub(super) fn mebibytes(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes >= MIB && bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else if bytes >= MIB {
        // Rounded up, so that what is over a limit never reads as the limit.
        format!("{:.1} MiB", (bytes as f64 / MIB as f64 * 10.0).ceil() / 10.0)
    } else if bytes >= 1024 {
        format!("{} KiB", bytes / 1024)
    } else {
        format!("{bytes} bytes")
    }
}
