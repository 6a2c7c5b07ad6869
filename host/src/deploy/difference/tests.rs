//! Two generations with known differences, on SQLite; the scenarios do it on both databases.

use std::sync::Arc;

use lamphouse_contract::{Column, ColumnType, Decimal, Descriptor, Row, Value};

use super::*;
use crate::config::DatabaseUrl;
use crate::core::{PluginDigest, PluginName};
use crate::tables::{Checkpoint, Flush, TableFlush};

struct Stage {
    store: Arc<dyn TableStore>,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

fn column(name: &str, kind: ColumnType) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        nullable: false,
        initial: None,
    }
}

/// `prices(part, sku: key; price, …)` and `notes(id: key)`.
fn descriptor(version: &str, more: &[Column]) -> Arc<Descriptor> {
    let mut columns = vec![
        column("part", ColumnType::Integer),
        column("sku", ColumnType::Text),
        column("price", ColumnType::Decimal(2)),
    ];
    columns.extend(more.iter().cloned());
    let table = |name: &str, columns, primary_key: &[u32]| TableSchema {
        name: name.to_owned(),
        columns,
        primary_key: primary_key.to_vec(),
        indexes: Vec::new(),
    };
    Arc::new(Descriptor {
        name: "prices".to_owned(),
        version: version.to_owned(),
        subscriptions: Vec::new(),
        tables: vec![
            table("prices", columns, &[0, 1]),
            table("notes", vec![column("id", ColumnType::Text)], &[0]),
        ],
        options: Vec::new(),
    })
}

fn price(part: i64, sku: &str, cents: i128) -> Arc<Row> {
    Arc::new(Box::new([
        Value::Integer(part),
        Value::Text(sku.into()),
        Value::Decimal(Decimal::new(cents, 2).expect("a price")),
    ]))
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let url = DatabaseUrl::Sqlite(folder.path().join("tables.db"));
        let store = crate::tables::open(&url, runtime.handle().clone()).expect("tables");
        let name = PluginName::new("prices").expect("a name");
        store
            .save_projection(&crate::tables::ProjectionRecord {
                name,
                paused: None,
                held: None,
                removed: false,
            })
            .expect("a projection");
        Self {
            store,
            _runtime: runtime,
            _folder: folder,
        }
    }

    /// A generation with these prices and notes.
    fn build(&self, version: &str, more: &[Column], prices: Vec<Arc<Row>>, notes: &[&str]) -> i64 {
        let name = PluginName::new("prices").expect("a name");
        let descriptor = descriptor(version, more);
        let digest = PluginDigest::of(version.as_bytes());
        let generation = self
            .store
            .create_generation(&name, &digest, version, &descriptor, &[], 0)
            .expect("a generation");
        let notes = notes
            .iter()
            .map(|id| -> Arc<Row> { Arc::new(Box::new([Value::Text((*id).into())])) });
        let tables = vec![
            TableFlush {
                table: 0,
                upserts: prices,
                ..TableFlush::default()
            },
            TableFlush {
                table: 1,
                upserts: notes.collect(),
                ..TableFlush::default()
            },
        ];
        let flush = Flush {
            from: Checkpoint::default(),
            to: Checkpoint {
                position: crate::core::Position(7),
                event_id: Some(crate::core::EventId(uuid::Uuid::from_u128(7))),
                log: Some(crate::core::LogId(uuid::Uuid::from_u128(1))),
            },
            tables,
            letters: None,
        };
        let mut writer = self.store.writer(&generation).expect("a writer");
        writer.flush(&flush, false).expect("rows");
        generation.id.0
    }

    fn page(&self, wanted: &Comparison) -> Difference {
        difference(&*self.store, "prices", wanted).expect("a difference")
    }

    /// All differences by pages of so many: `table key kind`, and how many pages there were.
    fn all(&self, from: i64, to: i64, limit: u64) -> (Vec<String>, usize) {
        let (mut found, mut pages, mut after) = (Vec::new(), 0, None);
        loop {
            let page = self.page(&Comparison {
                from: Some(from),
                to: Some(to),
                after,
                limit,
                ..Comparison::default()
            });
            assert!(page.rows.len() as u64 <= limit, "{page:?}");
            pages += 1;
            found.extend(page.rows.iter().map(|row| {
                let key: Vec<String> = row.key.values().map(ToString::to_string).collect();
                format!(
                    "{} {} {} {}",
                    row.table,
                    key.join("/"),
                    row.kind,
                    row.columns.join(",")
                )
            }));
            match page.next {
                Some(next) => after = Some(next),
                None => return (found, pages),
            }
        }
    }
}

#[test]
fn each_row_that_differs_is_given_once_whatever_the_pages() {
    let stage = Stage::new();
    // More rows than one read of a table, most of them equal.
    let mut old: Vec<Arc<Row>> = (0..1_200).map(|part| price(part, "a", 100)).collect();
    let mut new = old.clone();
    old[3] = price(3, "a", 101);
    new.remove(599);
    old.remove(1_199);
    new.push(price(2_000, "é", 1));
    let from = stage.build("1.0.0", &[], old, &["x", "y"]);
    let to = stage.build("2.0.0", &[], new, &["y", "z"]);
    let expected = [
        "notes \"x\" only_from ",
        "notes \"z\" only_to ",
        "prices 3/\"a\" changed price",
        "prices 599/\"a\" only_from ",
        "prices 1199/\"a\" only_to ",
        "prices 2000/\"é\" only_to ",
    ];
    for (limit, pages) in [(100, 1), (6, 1), (5, 2), (2, 3), (1, 6)] {
        assert_eq!(
            stage.all(from, to, limit),
            (expected.map(str::to_owned).to_vec(), pages),
            "{limit}"
        );
    }
    let page = stage.page(&Comparison {
        from: Some(from),
        to: Some(to),
        table: Some("prices".to_owned()),
        limit: 1,
        ..Comparison::default()
    });
    let row = &page.rows[0];
    let both = (row.from.as_ref().expect("a row"), row.to.as_ref().expect("a row"));
    assert_eq!(
        (&both.0["price"], &both.1["price"]),
        (&Json::from("1.01"), &Json::from("1.00"))
    );
    assert_eq!((page.from.checkpoint, page.to.checkpoint), (7, 7));
}

#[test]
fn a_column_that_only_one_has_is_no_difference_of_rows() {
    let stage = Stage::new();
    let more = Column {
        nullable: true,
        ..column("note", ColumnType::Text)
    };
    let noted: Arc<Row> = {
        let mut row = price(1, "a", 100).to_vec();
        row.push(Value::Text("new".into()));
        Arc::new(row.into_boxed_slice())
    };
    let from = stage.build("1.0.0", &[], vec![price(1, "a", 100)], &[]);
    let to = stage.build("2.0.0", &[more], vec![noted], &[]);
    let page = stage.page(&Comparison {
        from: Some(from),
        to: Some(to),
        limit: 10,
        ..Comparison::default()
    });
    assert_eq!((page.rows.len(), page.compared), (0, 1));
    assert!(page.tables[0].contains("prices.note"), "{:?}", page.tables);
}

#[test]
fn what_cannot_be_compared_is_said() {
    let stage = Stage::new();
    let only = stage.build("1.0.0", &[], vec![price(1, "a", 100)], &["x"]);
    let ask = |projection: &str, wanted: &Comparison| {
        difference(&*stage.store, projection, wanted)
            .expect_err("an error")
            .to_string()
    };
    let none = Comparison {
        limit: 1,
        ..Comparison::default()
    };
    assert!(ask("orders", &none).contains("there are: prices"));
    assert!(ask("prices", &none).contains("no other to compare it with"));
    let other = stage.build("2.0.0", &[], vec![price(2, "a", 100)], &["x"]);
    let both = Comparison {
        from: Some(only),
        to: Some(other),
        limit: 1,
        ..Comparison::default()
    };
    let with = |change: &dyn Fn(&mut Comparison)| {
        let mut wanted = both.clone();
        change(&mut wanted);
        ask("prices", &wanted)
    };
    assert!(with(&|wanted| wanted.to = Some(99)).contains("no generation g99"));
    assert!(with(&|wanted| wanted.to = Some(only)).contains("name two"));
    assert!(with(&|wanted| wanted.table = Some("lines".to_owned())).contains("notes, prices"));
    for after in [
        "",
        "prices",
        "prices.zz",
        "prices.9",
        "lines.90",
        "prices.91a161",
        "prices.ffffffff",
        "é.é",
    ] {
        let said = with(&|wanted| wanted.after = Some(after.to_owned()));
        assert!(said.contains("'after' is not"), "{after}: {said}");
    }
}
