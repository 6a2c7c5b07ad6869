//! Every target on its kept corpus, in every ordinary test run.

#![allow(clippy::unwrap_used, reason = "a test panics where it cannot go on")]

use std::panic::catch_unwind;

use lamphouse_fuzz::{TARGETS, check, corpus};

#[test]
fn what_was_worth_keeping_still_holds() {
    for target in TARGETS {
        let folder = corpus(target.name);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        assert!(
            files.len() > 20,
            "{} has {} inputs",
            folder.display(),
            files.len()
        );
        for file in files {
            let input = std::fs::read(&file).unwrap();
            let good = catch_unwind(|| check(&target, &input));
            assert!(
                good.is_ok(),
                "{} fails on {}: {}",
                target.name,
                file.display(),
                input.escape_ascii()
            );
        }
    }
}

#[test]
fn a_target_can_fail() {
    let lying = lamphouse_fuzz::Target {
        name: "lying",
        run: |input| assert!(input.is_empty(), "it is not empty"),
        words: &[],
        bytes_max: 1,
        memory_beside_max: 1 << 20,
    };
    check(&lying, b"");
    assert!(catch_unwind(|| check(&lying, b"x")).is_err());
    let greedy = lamphouse_fuzz::Target {
        run: |_| drop(std::hint::black_box(vec![1_u8; 2 << 20])),
        ..lying
    };
    assert!(catch_unwind(|| check(&greedy, b"")).is_err());
}
