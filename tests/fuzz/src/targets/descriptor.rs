//! The validator of what a projector and an upcaster declare. The input is a recipe: byte after byte decides what is
//! declared, so that every input is a descriptor.
//!
//! *Always:* a problem is a sentence of few words without control characters, and there are not more than the descriptor
//! gives reason for. What is found to be right is taken by SQLite as it stands, and by the host's own types.

use std::cell::RefCell;

use lamphouse::core::{PluginName, TableName};
use lamphouse::tables::ddl::{self, Dialect, Relation};
use lamphouse_contract::{
    Column, ColumnType, Decimal, Descriptor, EventSchema, Rule, Subscription, TableSchema,
    UpcasterDescriptor, Value, semantics,
};
use rusqlite::Connection;

use crate::{Target, memory};

pub(crate) const DESCRIPTOR: Target = Target {
    name: "descriptor",
    run,
    words: &[
        b"\x00",
        b"\x01",
        b"\x02",
        b"\x03",
        b"\xfe",
        b"\xff",
        b"\x01\x00",
        b"\x00\x01",
        b"\x01\x01\x01",
        b"\x08\x08",
    ],
    bytes_max: 2_048,
    memory_beside_max: 4 << 20,
};

const NAMES: [&str; 24] = [
    "a",
    "b",
    "c",
    "id",
    "select",
    "order",
    "user",
    "rowid",
    "oid",
    "ctid",
    "sqlite_x",
    "pg_x",
    "lamphouse_x",
    "a__g7",
    "_a",
    "A",
    "a-b",
    "a\"b",
    "a;b",
    "a\0b",
    "é",
    "",
    "x1_2",
    "group",
];

fn run(input: &[u8]) {
    let mut recipe = Recipe {
        bytes: input.iter().copied(),
        room: 20_000,
    };
    let descriptor = memory::beside(|| recipe.descriptor());
    let problems = semantics::check(&descriptor);
    assert_tell(&problems);
    if problems.is_empty() {
        assert_can_be_kept(&descriptor);
    }
    let upcaster = memory::beside(|| recipe.upcaster());
    let problems = semantics::check_upcaster(&upcaster);
    assert_tell(&problems);
    if problems.is_empty() {
        PluginName::new(&upcaster.name).expect("a name that was found to be right");
    }
}

fn assert_tell(problems: &[String]) {
    assert!(problems.len() < 5_000, "{} problems", problems.len());
    for problem in problems {
        assert!(problem.len() <= 600, "a long sentence: {problem}");
        assert!(
            !problem.contains(char::is_control),
            "a control character: {problem:?}"
        );
    }
}

/// Has SQLite make what is declared, as the host does.
fn assert_can_be_kept(descriptor: &Descriptor) {
    thread_local! {
        static DATABASE: RefCell<Option<Connection>> = const { RefCell::new(None) };
    }
    PluginName::new(&descriptor.name).expect("a name that was found to be right");
    let mut statements = Vec::new();
    for table in &descriptor.tables {
        TableName::new(&table.name).expect("a name that was found to be right");
        let physical = format!("{}__g7", table.name);
        let relation = Relation::named(&physical);
        statements.push(ddl::create_table(Dialect::Sqlite, relation, table));
        let indexes =
            (0..table.indexes.len()).map(|index| ddl::create_index(Dialect::Sqlite, relation, table, index));
        statements.extend(indexes);
        statements.push(ddl::create_view(Relation::named(&table.name), relation, table));
    }
    DATABASE.with_borrow_mut(|database| {
        let database =
            database.get_or_insert_with(|| Connection::open_in_memory().expect("a database in memory"));
        database.execute_batch("BEGIN").expect("a transaction");
        for statement in &statements {
            if let Err(why) = database.execute_batch(statement) {
                panic!("SQLite refuses what was found to be right: {why}: {statement}");
            }
        }
        database.execute_batch("ROLLBACK").expect("a transaction");
    });
}

/// Decides by bytes; 0 where there are no more.
struct Recipe<I> {
    bytes: I,
    /// How many entries all lists may have in all, so that lists of lists stay within the memory.
    room: usize,
}

impl<I: Iterator<Item = u8>> Recipe<I> {
    fn byte(&mut self) -> u8 {
        self.bytes.next().unwrap_or(0)
    }

    /// A count: mostly small, at times large.
    fn count(&mut self) -> usize {
        match self.byte() {
            small @ 0..=250 => usize::from(small % 6),
            251 => 33,
            252 => 65,
            253 => 201,
            254 => 1_001,
            255 => 3_000,
        }
    }

    fn list<T: Clone>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.count().min(self.room);
        self.room -= count;
        match count {
            0..=5 => (0..count).map(|_| one(self)).collect(),
            // Many are copies of one: an input is short. What is in it is there as often.
            _ => {
                let each = self.room / count;
                self.room -= each * count;
                let rest = std::mem::replace(&mut self.room, each);
                let copies = vec![one(self); count];
                self.room = rest;
                copies
            }
        }
    }

    fn name(&mut self) -> String {
        match self.byte() {
            known @ 0..=199 => NAMES[usize::from(known) % NAMES.len()].to_owned(),
            numbered @ 200..=239 => format!("n{}_{}", numbered, self.byte()),
            long => "x".repeat(usize::from(long - 240) * 24),
        }
    }

    fn index(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            small => u32::from(small % 12),
        }
    }

    fn value(&mut self) -> Value {
        match self.byte() % 12 {
            0 => Value::Null,
            1 => Value::Boolean(true),
            2 => Value::Integer(i64::from(self.byte()) - 7),
            3 => Value::Real(f64::from(self.byte())),
            4 => Value::Real(f64::NAN),
            5 => Value::Decimal(
                Decimal::new(i128::from(self.byte()), self.byte() % 39).unwrap_or(Decimal::from(1)),
            ),
            6 => Value::Text(self.name().into()),
            7 => Value::Bytes(vec![1; self.count()].into()),
            8 => Value::Timestamp(if self.byte() == 0 { i64::MAX } else { 1 }),
            9 => Value::Json(self.name().into()),
            10 => Value::Json("{\"a\":[1]}".into()),
            _ => {
                let length = (usize::from(self.byte()) * 60).min(self.room);
                self.room -= length;
                Value::Text("x".repeat(length).into())
            }
        }
    }

    fn kind(&mut self) -> ColumnType {
        match self.byte() % 8 {
            0 => ColumnType::Text,
            1 => ColumnType::Integer,
            2 => ColumnType::Real,
            3 => ColumnType::Decimal(self.byte()),
            4 => ColumnType::Boolean,
            5 => ColumnType::Bytes,
            6 => ColumnType::Timestamp,
            _ => ColumnType::Json,
        }
    }

    fn column(&mut self) -> Column {
        Column {
            name: self.name(),
            kind: self.kind(),
            nullable: self.byte() % 2 == 1,
            initial: if self.byte() % 3 == 1 {
                Some(self.value())
            } else {
                None
            },
        }
    }

    fn table(&mut self) -> TableSchema {
        let mut columns = self.list(Self::column);
        if self.byte() % 4 == 1 {
            // Names that are all different, as of most tables.
            for (number, column) in columns.iter_mut().enumerate() {
                column.name = format!("c{number}");
            }
        }
        TableSchema {
            name: self.name(),
            columns,
            primary_key: self.list(Self::index),
            indexes: self.list(|recipe| recipe.list(Self::index)),
        }
    }

    fn optional_name(&mut self) -> Option<String> {
        if self.byte() % 2 == 1 {
            Some(self.name())
        } else {
            None
        }
    }

    fn version(&mut self) -> u32 {
        u32::from(self.byte() % 5)
    }

    fn descriptor(&mut self) -> Descriptor {
        Descriptor {
            name: self.name(),
            version: self.name(),
            subscriptions: self.list(|recipe| Subscription {
                event_type: recipe.optional_name(),
                stream_type: recipe.optional_name(),
                schema_versions: recipe.list(Self::version),
            }),
            tables: self.list(Self::table),
            options: Vec::new(),
        }
    }

    fn schema(&mut self) -> EventSchema {
        EventSchema {
            event_type: self.name(),
            schema_version: self.version(),
        }
    }

    fn upcaster(&mut self) -> UpcasterDescriptor {
        UpcasterDescriptor {
            name: self.name(),
            version: self.name(),
            rules: self.list(|recipe| Rule {
                takes: recipe.schema(),
                gives: recipe.list(Self::schema),
            }),
            options: Vec::new(),
        }
    }
}
