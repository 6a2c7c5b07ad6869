//! The second example: a rename reaches all of a customer's orders through the declared index.

use std::collections::BTreeMap;

use lamphouse_tests::host::of;
use lamphouse_tests::{Database, Project, log_file, on_each_database, wait};
use serde_json::json;
use xtask::seeded::Seeded;

on_each_database!(
    a_rename_reaches_all_orders_live_and_in_a_rebuild,
    a_rename_reaches_all_orders_with_a_tiny_cache,
);

/// Order to its customer's name now.
type Names = BTreeMap<String, Option<String>>;

/// A random log of a shop whose customers change their names, and what the table must hold at its end.
fn log(events: usize, seed: u64) -> (Vec<String>, Names) {
    let mut random = Seeded::new(seed);
    let (mut lines, mut orders) = (Vec::new(), BTreeMap::<String, Option<u64>>::new());
    let mut names = BTreeMap::<u64, String>::new();
    for number in 0..events {
        let customer = random.skewed(40, 2.0);
        if random.chance(70.0) {
            let (order, known) = (format!("order-{number}"), !random.chance(10.0));
            let customer = known.then_some(customer);
            let data = json!({"invoice_no": number.to_string(), "customer_id": customer.map(|id| id.to_string()),
                              "country": "Malta", "currency": "GBP"});
            lines.push(log_file::line(&order, "OrderPlaced", &data));
            orders.insert(order, customer);
        } else {
            let name = format!("Name {number}");
            let event_type = if names.contains_key(&customer) {
                "CustomerRenamed"
            } else {
                "CustomerRegistered"
            };
            let data = json!({"customer_id": customer.to_string(), "name": name});
            lines.push(log_file::line(&format!("customer-{customer}"), event_type, &data));
            names.insert(customer, name);
        }
    }
    let now = |customer: Option<u64>| customer.and_then(|id| names.get(&id).cloned());
    (
        lines,
        orders
            .into_iter()
            .map(|(order, customer)| (order, now(customer)))
            .collect(),
    )
}

fn names(project: &Project) -> Names {
    let rows = project
        .client()
        .query("SELECT order_id, customer_name FROM order_names")
        .unwrap();
    rows.into_iter()
        .map(|row| (row[0].clone().unwrap(), row[1].clone()))
        .collect()
}

fn a_rename_reaches_all_orders_live_and_in_a_rebuild(database: Database) {
    let (lines, wanted) = log(6_000, 4);
    let project = Project::new(database);
    project.deploy("customer-names-1.0.0", "customer-names");
    let host = project.serve();
    for (number, piece) in lines.chunks(700).enumerate() {
        project.import_lines(&format!("piece-{number}"), piece);
    }
    let status = host.wait_level("customer-names");
    assert_eq!(names(&project), wanted, "live");
    let before = of(&status, "customer-names")["live"]["generation"].clone();
    project.ok(&["rebuild", "customer-names"]);
    host.wait_status("a new generation", wait::LONG, |status| {
        let live = &of(status, "customer-names")["live"];
        !live.is_null() && live["generation"] != before
    });
    assert_eq!(names(&project), wanted, "after a rebuild");
    host.stop();
}

fn a_rename_reaches_all_orders_with_a_tiny_cache(database: Database) {
    let (lines, wanted) = log(6_000, 9);
    let settings = "[pipeline]\ncache_bytes_max = 8192\nbatch_events_max = 100\nflush_events_max = 300\n";
    let project = Project::with_settings(database, settings);
    project.deploy("customer-names-1.0.0", "customer-names");
    project.import_lines("all", &lines);
    project.catch_up();
    assert_eq!(names(&project), wanted);
}
