//! Changes of rows as they come.

use serde_json::json;

use super::{Follower, Host, Table, Told};
use crate::tables::Checkpoint;

#[test]
fn changes_come_in_order_and_go_on_where_they_ended() {
    let host = Host::start();
    host.shared.store.keep_changes(1_000).unwrap();
    let (mut orders, mut people) = (host.table("orders"), host.table("people"));
    let mut all = Follower::of(&host, "/v1/changes", None);
    let mut some = Follower::of(&host, "/v1/changes?tables=people", None);
    let start = all.hello()["sequence"].as_u64().unwrap();
    assert_eq!(some.hello(), json!({ "sequence": start }));
    orders.write(&[("a", 1), ("b", 9_007_199_254_740_993)], &[]);
    people.write(&[("x", 7)], &[]);
    orders.write(&[], &["a"]);
    let (generation, position) = (orders.generation.id.0, 2);
    let told: Vec<Told> = (0..4).map(|_| all.one()).collect();
    assert!(told.iter().all(|told| told.name == "change"), "{told:?}");
    let ids: Vec<u64> = told.iter().map(|told| told.id.unwrap() - start).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert_eq!(
        told[1].data,
        json!({"sequence": start + 2, "table": "orders", "kind": "put", "key": {"id": "b"},
            "row": {"id": "b", "n": "9007199254740993"}, "position": position, "generation": generation})
    );
    assert_eq!(
        told[3].data,
        json!({"sequence": start + 4, "table": "orders", "kind": "remove", "key": {"id": "a"}, "row": null,
            "position": position + 1, "generation": generation})
    );
    assert_eq!(some.one().data["row"], json!({"id": "x", "n": 7}));
    drop(all);
    people.write(&[("y", 8)], &[]);
    let mut again = Follower::of(&host, &format!("/v1/changes?after={start}"), Some(start + 3));
    assert_eq!(again.hello(), json!({ "sequence": start + 3 }));
    assert_eq!(again.one(), told[3]);
    assert_eq!(again.one().data["key"], json!({"id": "y"}));
    assert_eq!(some.one().data["key"], json!({"id": "y"}));
}

#[test]
fn a_cutover_and_a_place_that_is_gone_say_to_read_again() {
    let host = Host::start();
    host.shared.store.keep_changes(5).unwrap();
    let (mut orders, mut people) = (host.table("orders"), host.table("people"));
    let mut follower = Follower::of(&host, "/v1/changes?tables=orders", None);
    let start = follower.hello()["sequence"].as_u64().unwrap();
    orders.write(&[("a", 1)], &[]);
    assert_eq!(follower.one().name, "change");
    // The same code once more, as a rebuild.
    let record = &orders.generation;
    let (projection, digest) = (&record.projection, &record.digest);
    let second = host
        .shared
        .store
        .create_generation(projection, digest, "1.0.0", &record.descriptor, &[], 3)
        .unwrap();
    let mut rebuilt = Table {
        writer: host.shared.store.writer(&second).unwrap(),
        generation: second,
        at: Checkpoint::default(),
        ring: host.shared.written.clone(),
    };
    rebuilt.write(&[("a", 2)], &[]);
    rebuilt.switch(Some(orders.generation.id));
    let mark = follower.one();
    assert_eq!(
        (
            mark.name.as_str(),
            mark.id,
            &mark.data["reason"],
            &mark.data["table"]
        ),
        (
            "must-refetch",
            Some(start + 2),
            &json!("cutover"),
            &json!("orders")
        )
    );
    assert_eq!(mark.data["generation"], json!(rebuilt.generation.id.0));
    rebuilt.write(&[("b", 3)], &[]);
    let change = follower.one();
    assert_eq!(
        (&change.data["generation"], change.id),
        (&json!(rebuilt.generation.id.0), Some(start + 3))
    );
    for n in 0..10 {
        people.write(&[("x", n)], &[]);
    }
    while host.shared.store.trim_changes().unwrap() {}
    let head = start + 13;
    // Trimmed; of another database; of the future.
    for last in [start - 1, 1, head + 50] {
        let mut late = Follower::of(&host, "/v1/changes", Some(last));
        assert_eq!(late.hello(), json!({ "sequence": last }));
        let (first, second) = (late.one(), late.one());
        assert_eq!((&first.data["table"], first.id), (&json!("orders"), None));
        let at = second.id.unwrap();
        assert_eq!(
            second.data,
            json!({"sequence": at, "table": "people", "reason": "retention"})
        );
        assert!(
            at == head || (last == start - 1 || last == 1) && at == head - 5,
            "{last}: {at}"
        );
        // It goes on from there.
        let mut seen = at;
        while seen < head {
            let told = late.one();
            assert_eq!((told.id, told.name.as_str()), (Some(seen + 1), "change"));
            seen += 1;
        }
    }
    let mut here = Follower::of(&host, "/v1/changes", Some(head - 5));
    here.hello();
    assert_eq!(here.one().id, Some(head - 4));
}
