//! The process itself, under the names that Prometheus' own libraries use. From `/proc`, and so on Linux only.

use std::fmt::Error;

use super::page::{Of, Page, only};

/// What the kernel knows.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    cpu_seconds: Option<f64>,
    started_at: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    threads: Option<u64>,
    open_files: Option<u64>,
    open_files_max: Option<u64>,
}

/// Ticks a second in `/proc`: the same on every Linux of this century, whatever the kernel's own rate is.
const TICKS_PER_SECOND: f64 = 100.0;

impl Process {
    /// As it is now.
    pub(super) fn now() -> Self {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let mut process = Self::of(
            &read("/proc/self/stat"),
            &read("/proc/self/status"),
            &read("/proc/self/limits"),
            &read("/proc/stat"),
        );
        process.open_files = std::fs::read_dir("/proc/self/fd")
            .ok()
            // One of them reads the folder.
            .map(|files| (files.count() as u64).saturating_sub(1));
        process
    }

    fn of(stat: &str, status: &str, limits: &str, machine: &str) -> Self {
        // Behind the name, which may hold anything, in parentheses; the first field here is the third.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().collect())
            .unwrap_or_default();
        let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let line = |text: &str, start: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(start))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        Self {
            cpu_seconds: ticks(14)
                .zip(ticks(15))
                .map(|(user, system)| (user + system) / TICKS_PER_SECOND),
            started_at: ticks(22)
                .zip(line(machine, "btime"))
                .map(|(ticks, booted)| booted as f64 + ticks / TICKS_PER_SECOND),
            resident_bytes: line(status, "VmRSS:").map(|kib| kib * 1024),
            virtual_bytes: line(status, "VmSize:").map(|kib| kib * 1024),
            threads: line(status, "Threads:"),
            open_files: None,
            open_files_max: line(limits, "Max open files"),
        }
    }

    /// Writes what is known.
    pub(super) fn write(&self, page: &mut Page<'_>) -> Result<(), Error> {
        let known = |value: Option<u64>| value.into_iter().flat_map(only);
        let seconds = |value: Option<f64>| value.into_iter().flat_map(only);
        page.counter(
            "process_cpu",
            Of::Seconds,
            "Time that the process has computed, on all cores together",
            seconds(self.cpu_seconds),
        )?;
        page.gauge(
            "process_start_time",
            Of::Seconds,
            "When the process began, since 1970",
            seconds(self.started_at),
        )?;
        page.gauge(
            "process_resident_memory",
            Of::Bytes,
            "Memory that the process has",
            known(self.resident_bytes),
        )?;
        page.gauge(
            "process_virtual_memory",
            Of::Bytes,
            "Addresses that the process has reserved; most of them for plugins, and never used",
            known(self.virtual_bytes),
        )?;
        page.gauge(
            "process_threads",
            Of::Things,
            "Threads of the process",
            known(self.threads),
        )?;
        page.gauge(
            "process_open_fds",
            Of::Things,
            "Files and sockets that the process has open",
            known(self.open_files),
        )?;
        page.gauge(
            "process_max_fds",
            Of::Things,
            "How many it may have open",
            known(self.open_files_max),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_passed_over() {
        let stat =
            "42 (a (b) c) S 1 42 42 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 7 0 12345 1000 30 184 1 1 0";
        let status = "Name:\ta\nVmSize:\t  9000 kB\nVmRSS:\t   1234 kB\nThreads:\t7\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 4096                 files\n";
        let process = Process::of(stat, status, limits, "cpu 1 2\nbtime 1700000000\n");
        let expected = Process {
            cpu_seconds: Some(3.0),
            started_at: Some(1_700_000_123.45),
            resident_bytes: Some(1234 << 10),
            virtual_bytes: Some(9000 << 10),
            threads: Some(7),
            open_files: None,
            open_files_max: Some(1024),
        };
        assert_eq!(process, expected);
        assert_eq!(Process::of("", "", "", ""), Process::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_known() {
        let process = Process::now();
        assert!(process.resident_bytes > Some(1 << 20), "{process:?}");
        assert!(process.open_files > Some(0), "{process:?}");
        let now = crate::core::clock::Clock::system().now_micros() as f64 / 1e6;
        let age = now - process.started_at.expect("a start");
        assert!((-2.0..3_600.0).contains(&age), "{age}");
    }
}
