// JSON without loss, and the exact numbers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Decimal } from "../src/decimal.ts";
import { JsonText, parseJson, writeJson } from "../src/json.ts";
import { jsonError } from "../src/semantics/json-text.ts";
import { Timestamp } from "../src/timestamp.ts";

test("whole numbers keep their digits", () => {
  const text =
    '{"a":[9007199254740993,-12345678901234567890,1.5,1e3],"b":"12345678901234567890","#":"#1","c\\"":1}';
  const value = parseJson(text);
  assert.deepEqual(value, {
    a: [9007199254740993n, -12345678901234567890n, 1.5, 1000],
    b: "12345678901234567890",
    "#": "#1",
    'c"': 1,
  });
  const marked = { text: "α1", escaped: "β1", big: 2n ** 60n };
  const escaped = `{"text":"α1","escaped":"\\u03B21","big":${2n ** 60n}}`;
  assert.deepEqual(parseJson(escaped), marked);
  assert.equal(parseJson("9007199254740993"), 9007199254740993n);
  assert.equal(parseJson("9007199254740991"), 9007199254740991);
  assert.equal(parseJson("1e300"), 1e300);
});

test("what is written reads back", () => {
  const value = { big: [2n ** 64n, -1n], no: null, text: '#raw#0#raw# "', n: 1.5 };
  assert.equal(
    writeJson(value),
    '{"big":[18446744073709551616,-1],"no":null,"text":"#raw#0#raw# \\"","n":1.5}',
  );
  assert.equal(
    writeJson({ price: Decimal.parse("1.50"), at: Timestamp.fromMicros(0) }),
    '{"price":"1.50","at":"1970-01-01T00:00:00Z"}',
  );
  assert.equal(writeJson({ as: new JsonText('{"x": 1.0}') }), '{"as":{"x": 1.0}}');
  assert.equal(writeJson({ a: 1, b: undefined }), '{"a":1}');
  assert.equal(writeJson([undefined, -0, new Date(0), () => {}]), '[null,0,"1970-01-01T00:00:00.000Z",null]');
  const circle: unknown[] = [];
  circle.push(circle);
  assert.throws(() => writeJson(circle), /in a circle/);
  assert.throws(() => writeJson({ n: Infinity }), /Infinity cannot be written as JSON/);
  assert.throws(() => writeJson(undefined), /undefined cannot be written as JSON/);
  assert.throws(() => new JsonText("{"), SyntaxError);
});

test("JSON that databases do not keep is refused", () => {
  assert.equal(jsonError('{"a":["\\u00e9\\ud83d\\ude00","\\\\u0000"]}'), undefined);
  assert.match(jsonError('"\\u0000"') ?? "", /U\+0000/);
  assert.match(jsonError('"\\ud800"') ?? "", /lone surrogate/);
  assert.match(jsonError("[".repeat(129) + "]".repeat(129)) ?? "", /nested more than 128 deep/);
  assert.equal(jsonError("[".repeat(128) + "]".repeat(128)), undefined);
  assert.equal(jsonError(JSON.stringify("[".repeat(500))), undefined);
  assert.match(jsonError("1e10001") ?? "", /more than 10000 digits/);
  assert.notEqual(jsonError("{'a':1}"), undefined);
});

test("decimals are no numbers", () => {
  const price = Decimal.of("2.50");
  assert.throws(() => (price as unknown as number) + 1, /a Decimal is no number/);
  assert.throws(() => Decimal.of(0.1), /the number 0.1 is not exact/);
  assert.equal(String(price.times("0.1")), "0.250");
  assert.equal(String(price.minus(3)), "-0.50");
  assert.ok(price.equals("2.5") && !price.equals(2) && price.compare(3n) < 0);
  assert.notDeepEqual(Decimal.of("1"), Decimal.of("2"));
  assert.equal(`${price.negated()}`, "-2.50");
  assert.equal(price.mantissa, 250n);
});

test("timestamps keep microseconds", () => {
  const moment = Timestamp.parse("2011-08-12T13:50:00.123456Z");
  assert.equal(moment.micros, 1313157000123456n);
  assert.equal(moment.date, "2011-08-12");
  assert.equal(moment.toDate().toISOString(), "2011-08-12T13:50:00.123Z");
  assert.equal(Timestamp.parse("1969-12-31T23:59:59.999999Z").toDate().getTime(), -1);
  assert.ok(Timestamp.fromDate(moment.toDate()).compare(moment) < 0);
  assert.equal(String(moment.plusMicros(1)), "2011-08-12T13:50:00.123457Z");
  assert.throws(() => (moment as unknown as number) - 1, /a Timestamp is no number/);
  assert.throws(() => Timestamp.fromMicros(1.5), /no safe integer/);
});
