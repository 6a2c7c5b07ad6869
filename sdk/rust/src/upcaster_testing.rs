//! Tests of an upcaster on the developer's machine: given an event, then events.

use std::marker::PhantomData;

use lamphouse_contract::{EventSchema, UpcasterDescriptor, packed, semantics};
use serde_json::Value;

use crate::run::Failure;
use crate::testing::TestEvent;
use crate::upcaster::{Given, upcast};
use crate::{Event, Upcaster};

/// Lifts given events and checks what comes out, as the host would: through the upcaster's own rules until none takes
/// the result. See [`Upcaster`] for an example.
pub struct UpcasterHarness<U> {
    descriptor: UpcasterDescriptor,
    of: PhantomData<fn() -> U>,
}

/// What an event is today.
#[derive(Clone, Debug)]
#[must_use]
pub struct Lifted {
    /// The siblings, in order.
    pub events: Vec<TodayEvent>,
}

/// One event that came out.
#[derive(Clone, Debug, PartialEq)]
pub struct TodayEvent {
    /// Its type.
    pub event_type: String,
    /// Its version.
    pub schema_version: u32,
    /// Its data.
    pub data: Value,
    /// Its metadata.
    pub metadata: Value,
}

impl<U: Upcaster> Default for UpcasterHarness<U> {
    fn default() -> Self {
        Self::new()
    }
}

impl<U: Upcaster> UpcasterHarness<U> {
    /// Panics where the host would refuse what the upcaster declares.
    pub fn new() -> Self {
        let descriptor = U::describe().descriptor;
        let errors = semantics::check_upcaster(&descriptor);
        assert!(
            errors.is_empty(),
            "the host would refuse this upcaster:\n- {}",
            errors.join("\n- ")
        );
        Self {
            descriptor,
            of: PhantomData,
        }
    }

    /// Lifts one event. Panics where it fails, gives what its rule does not name, or gives what is no JSON.
    #[track_caller]
    pub fn given(&self, event: &TestEvent) -> Lifted {
        match self.run(event) {
            Ok(lifted) => lifted,
            Err(failure) => panic!("{} {}", failure.message, failure.trace),
        }
    }

    /// Lifts one event that may fail.
    ///
    /// # Errors
    /// What the upcaster said.
    #[track_caller]
    pub fn run(&self, event: &TestEvent) -> Result<Lifted, Failure> {
        let stored = Form {
            schema: EventSchema {
                event_type: event.event_type.clone(),
                schema_version: event.schema_version,
            },
            data: event.data.clone(),
            metadata: event.metadata.clone(),
        };
        let mut forms = vec![stored];
        // A chain without a cycle ends within as many rounds as there are rules.
        for _ in 0..=self.descriptor.rules.len() {
            let mut next = Vec::with_capacity(forms.len());
            let mut is_done = true;
            for (part, form) in forms.into_iter().enumerate() {
                let rule = self
                    .descriptor
                    .rules
                    .iter()
                    .find(|rule| rule.takes == form.schema);
                let Some(rule) = rule else {
                    next.push(form);
                    continue;
                };
                is_done = false;
                for given in self.step(event, &form, part)? {
                    assert!(
                        rule.gives.contains(&given.schema),
                        "{} became {}, which its rule does not name: the host would fault",
                        form.schema,
                        given.schema
                    );
                    next.push(Form {
                        schema: given.schema,
                        data: given.data.unwrap_or_else(|| form.data.clone()),
                        metadata: given.metadata.unwrap_or_else(|| form.metadata.clone()),
                    });
                }
            }
            forms = next;
            if is_done {
                let events = forms.into_iter().map(today).collect();
                return Ok(Lifted { events });
            }
        }
        panic!("the rules form a cycle: the host would refuse this upcaster");
    }

    fn step(&self, event: &TestEvent, form: &Form, part: usize) -> Result<Vec<Given>, Failure> {
        // 2024-01-01T00:00:00Z, as in a projector's harness.
        let at = event
            .occurred_at
            .map_or(1_704_067_200_000_000, crate::Timestamp::micros);
        let event = packed::Event {
            position: 1,
            part: part as u32,
            id: "00000000-0000-7000-8000-000000000001",
            stream_id: &event.stream_id,
            stream_type: &event.stream_type,
            stream_version: 1,
            event_type: &form.schema.event_type,
            schema_version: form.schema.schema_version,
            data: &form.data,
            metadata: &form.metadata,
            occurred_at: at,
            recorded_at: at,
            fields: None,
        };
        let mut given = Vec::new();
        upcast::<U>(Event::new(event, None), 0, &mut given)?;
        Ok(given)
    }
}

/// What an event is between two rules.
struct Form {
    schema: EventSchema,
    data: String,
    metadata: String,
}

#[track_caller]
fn today(form: Form) -> TodayEvent {
    let json = |what: &str, text: &str| -> Value {
        serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("the {what} of {} is not JSON: {error}", form.schema))
    };
    let metadata = json("metadata", &form.metadata);
    assert!(
        metadata.is_object(),
        "the metadata of {} is no object: the host would fault",
        form.schema
    );
    TodayEvent {
        data: json("data", &form.data),
        metadata,
        event_type: form.schema.event_type,
        schema_version: form.schema.schema_version,
    }
}

impl Lifted {
    /// Panics unless these came out: type, version and data of each, in order.
    #[track_caller]
    pub fn then<'a>(&self, events: impl IntoIterator<Item = (&'a str, u32, Value)>) -> &Self {
        let came = self.events.iter();
        let came: Vec<_> = came
            .map(|event| {
                (
                    event.event_type.as_str(),
                    event.schema_version,
                    event.data.clone(),
                )
            })
            .collect();
        assert_eq!(came, events.into_iter().collect::<Vec<_>>());
        self
    }

    /// Panics unless the event was dropped.
    #[track_caller]
    pub fn then_nothing(&self) {
        self.then([]);
    }
}
