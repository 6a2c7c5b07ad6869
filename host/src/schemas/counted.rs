//! JSON that counts how often it is looked at, so that a check ends: schemas that refer to each other can say in a few
//! lines what takes longer than a life to check. The checker's own bounds are those of depth and of patterns.

use std::borrow::Cow;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, SerdeJson, cmp, unique};
use jsonschema::types::JsonType;
use serde_json::{Map, Number, Value};

use super::set::STACK_BYTES;

/// Characters of a text that one step looks at: a pattern goes through all of them.
const CHARS_A_STEP: usize = 64;

/// Stack that is never used: for what stands between two steps.
const STACK_SPARE_BYTES: usize = 32 << 20;

thread_local! {
    static STEPS_LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    /// The stack grows down, to here.
    static STACK_END: Cell<usize> = const { Cell::new(0) };
}

/// Unwinds a check that has no steps left, or no stack.
struct OutOfSteps;

/// Does what looks at JSON, with so many steps; those that it took are gone after it. None: they were not enough, or it went
/// deeper than the stack. To be called near the beginning of a stack of [`STACK_BYTES`].
pub(super) fn within<T>(steps: &mut u64, work: impl FnOnce() -> T) -> Option<T> {
    STEPS_LEFT.set(*steps);
    STACK_END.set(here().saturating_sub(STACK_BYTES - STACK_SPARE_BYTES));
    let done = catch_unwind(AssertUnwindSafe(work));
    *steps = STEPS_LEFT.replace(u64::MAX);
    STACK_END.set(0);
    match done {
        Ok(done) => Some(done),
        Err(why) if why.is::<OutOfSteps>() => None,
        Err(why) => resume_unwind(why),
    }
}

/// About where on its stack the caller is.
#[inline(never)]
fn here() -> usize {
    let mark = 0_u8;
    std::hint::black_box(&raw const mark).addr()
}

fn step(cost: usize) {
    let left = STEPS_LEFT.get();
    match left.checked_sub(cost as u64) {
        Some(left) if here() > STACK_END.get() => STEPS_LEFT.set(left),
        // No panic that anybody should read of.
        _ => resume_unwind(Box::new(OutOfSteps)),
    }
}

/// The form of JSON that is checked.
#[derive(Debug)]
pub(super) struct Counted;

/// A value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a>(pub(super) &'a Value);

/// An object.
pub(super) struct SeenObject<'a>(&'a Map<String, Value>);

/// An array.
pub(super) struct SeenArray<'a>(&'a [Value]);

impl Json for Counted {
    type Node<'a> = Seen<'a>;
    type PreparedKey = String;
    type StringBuffer = Value;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut Value, string: &str, f: impl FnOnce(Seen<'_>) -> T) -> T {
        SerdeJson::with_string_node(buffer, string, |value| f(Seen(value)))
    }
}

impl<'a> Node<'a, Counted> for Seen<'a> {
    type Object = SeenObject<'a>;
    type Array = SeenArray<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<SeenObject<'a>> {
        step(1);
        self.0.as_object().map(SeenObject)
    }

    fn as_array(&self) -> Option<SeenArray<'a>> {
        step(1);
        self.0.as_array().map(|items| SeenArray(items))
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        let text = self.0.as_str();
        step(1 + text.map_or(0, str::len) / CHARS_A_STEP);
        text.map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<&'a Number> {
        step(1);
        match self.0 {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        step(1);
        self.0.as_bool()
    }

    fn is_null(&self) -> bool {
        step(1);
        self.0.is_null()
    }

    fn json_type(&self) -> JsonType {
        step(1);
        Node::<SerdeJson>::json_type(&self.0)
    }

    fn equals_value(&self, expected: &Value) -> bool {
        step(1);
        cmp::equal(self.0, expected)
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Borrowed(self.0)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        step(1);
        Node::<SerdeJson>::identity(&self.0)
    }
}

/// An object's members.
pub(super) struct Members<'a>(serde_json::map::Iter<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Seen<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        step(1);
        self.0.next().map(|(key, value)| (key.as_str(), Seen(value)))
    }
}

impl<'a> Object<'a, Counted> for SeenObject<'a> {
    type Node = Seen<'a>;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &String) -> Option<Seen<'a>> {
        step(1);
        self.0.get(key.as_str()).map(Seen)
    }

    fn members(&self) -> Members<'a> {
        Members(self.0.iter())
    }
}

/// An array's items.
pub(super) struct Elements<'a>(std::slice::Iter<'a, Value>);

impl<'a> Iterator for Elements<'a> {
    type Item = Seen<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        step(1);
        self.0.next().map(Seen)
    }
}

impl<'a> Array<'a, Counted> for SeenArray<'a> {
    type Node = Seen<'a>;
    type ElementsIter = Elements<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> Elements<'a> {
        Elements(self.0.iter())
    }

    fn is_unique(&self) -> bool {
        step(self.0.len());
        unique::is_unique(self.0)
    }
}
