//! What a call costs: `cargo test -p lamphouse --lib plugin::tests::speed -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

/// Prints the median of so many runs, in microseconds.
fn median(what: &str, runs: usize, mut run: impl FnMut()) {
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    eprintln!("{what}: {:.1} µs (best {:.1})", times[runs / 2], times[0]);
}

#[test]
#[ignore = "measures; run it by hand"]
fn calls() {
    let sandbox = Sandbox::new(PluginLimits::default(), None).unwrap();
    for (lane, file) in [("typed", puppet_file()), ("packed", packed_puppet_file())] {
        let plugin = sandbox.load_projector(file).unwrap();
        let none = Call {
            range: 0..0,
            ..batch(&[])
        };
        median(&format!("{lane}, no events"), 2_000, || {
            drop(plugin.project(&none, Tables::of(&plugin)))
        });
        let thousand = batch(&["NotMine"; 1000]);
        median(&format!("{lane}, 1000 events, no changes"), 200, || {
            drop(plugin.project(&thousand, Tables::of(&plugin)))
        });
        let thousand = batch(&["Count"; 1000]);
        median(&format!("{lane}, 1000 upserts"), 200, || {
            drop(plugin.project(&thousand, Tables::of(&plugin)))
        });
    }
    median("load, compiled anew", 5, || {
        drop(sandbox.load_projector(puppet_file()))
    });
    let folder = tempfile::tempdir().unwrap();
    let cached = Sandbox::new(PluginLimits::default(), Some(folder.path())).unwrap();
    cached.load_projector(puppet_file()).unwrap();
    median("load, from the cache", 50, || {
        drop(cached.load_projector(puppet_file()))
    });
}
