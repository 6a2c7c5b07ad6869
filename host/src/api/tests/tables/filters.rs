//! The conformance list: what is asked, and the ids of the rows that it gives, in order.

use super::on_each;

const ALL: &[i64] = &[1, 2, 3, 4, 5, 6, 7, 8, 9];

/// As PostgREST gives them over the same rows, text in the collation `C`.
const CASES: &[(&str, &[i64])] = &[
    ("", ALL),
    // Text goes by its bytes.
    ("name=eq.Ada", &[1]),
    ("name=eq.ada", &[2]),
    ("name=eq.", &[7]),
    ("name=eq.null", &[8]),
    ("name=eq.Åse", &[3]),
    ("name=eq.日本 語", &[5]),
    ("name=eq.O'Brien; DROP TABLE people; --", &[4]),
    ("name=eq.\"Ada\"", &[]),
    ("name=neq.Ada", &[2, 3, 4, 5, 7, 8, 9]),
    ("name=gt.ada", &[3, 5, 8, 9]),
    ("name=gte.z", &[3, 5, 9]),
    ("name=lt.a", &[1, 4, 7]),
    ("name=lte.Ada", &[1, 7]),
    ("name=not.eq.Ada", &[2, 3, 4, 5, 7, 8, 9]),
    ("name=not.gt.ada", &[1, 2, 4, 7]),
    // Patterns.
    ("name=like.A*", &[1]),
    ("name=like.A%", &[1]),
    ("name=ilike.A*", &[1, 2]),
    ("name=like.*a", &[1, 2]),
    ("name=like._da", &[1, 2]),
    ("name=like.日%", &[5]),
    ("name=like.日__語", &[5]),
    ("name=ilike.ÅSE", &[3]),
    ("name=ilike.åse", &[]),
    ("name=like.", &[7]),
    ("name=not.like.*a*", &[3, 4, 5, 7, 8, 9]),
    ("name=not.ilike.*A*", &[3, 5, 7, 8, 9]),
    (r"note=like.100\% *", &[3]),
    (r"note=like.a\_b", &[7]),
    ("note=like.a_b", &[2, 7, 8]),
    (r"note=like.back\\slash", &[5]),
    ("note=like.*\"*", &[4]),
    // Lists.
    ("note=eq.a,b", &[2]),
    ("note=eq.100% (sure)", &[3]),
    ("note=in.(plain,\"a,b\")", &[1, 2]),
    (r#"note=in.("(x)","say \"hi\"","back\\slash")"#, &[4, 5, 9]),
    ("note=not.in.(plain,\"a,b\")", &[3, 4, 5, 7, 8, 9]),
    ("note=in.()", &[]),
    ("note=not.in.()", ALL),
    ("name=in.(\"\")", &[7]),
    ("name=in.(Ada,日本 語,nobody)", &[1, 5]),
    // Numbers.
    ("age=eq.65", &[4, 5]),
    ("age=neq.65", &[1, 2, 7, 8, 9]),
    ("age=gt.36", &[4, 5, 9]),
    ("age=gte.36", &[1, 4, 5, 9]),
    ("age=lt.18", &[2, 7]),
    ("age=lte.18", &[2, 7, 8]),
    ("age=in.(17, 18,65)", &[2, 4, 5, 8]),
    ("age=not.in.(17,18,65)", &[1, 7, 9]),
    ("age=gte.18&age=lt.65", &[1, 8, 9]),
    ("big=eq.9223372036854775807", &[1]),
    ("big=lt.-9223372036854775807", &[2]),
    ("big=eq.9007199254740993", &[4]),
    ("big=gt.9007199254740992", &[1, 4]),
    ("ratio=gt.0.5", &[4, 5, 9]),
    ("ratio=eq.-1.5", &[2]),
    ("ratio=eq.1e300", &[4]),
    ("ratio=lte.-0", &[2, 7, 8]),
    ("price=eq.1.5", &[1, 8]),
    ("price=eq.1.50", &[1, 8]),
    ("price=eq.1.500", &[1, 8]),
    ("price=neq.1.5", &[2, 3, 4, 5, 7, 9]),
    ("price=gt.9.5", &[2, 5]),
    ("price=gte.9.500", &[2, 4, 5]),
    ("price=gt.9.499", &[2, 4, 5]),
    ("price=lt.0", &[3, 9]),
    ("price=eq.9.505", &[]),
    ("price=neq.9.505", &[1, 2, 3, 4, 5, 7, 8, 9]),
    ("price=eq.123456789012345678901234567890.10", &[5]),
    ("price=gt.123456789012345678901234567890.0999", &[5]),
    ("price=in.(10,1.5)", &[1, 2, 8]),
    ("price=in.(10,1.505)", &[2]),
    // Null, true and false.
    ("age=is.null", &[3, 6]),
    ("age=is.NULL", &[3, 6]),
    ("age=not.is.null", &[1, 2, 4, 5, 7, 8, 9]),
    ("age=is.not_null", &[1, 2, 4, 5, 7, 8, 9]),
    ("active=eq.true", &[1, 4, 7]),
    ("active=neq.t", &[2, 5, 8]),
    ("active=gt.false", &[1, 4, 7]),
    ("active=is.true", &[1, 4, 7]),
    ("active=is.false", &[2, 5, 8]),
    ("active=is.unknown", &[3, 6, 9]),
    ("active=not.is.true", &[2, 3, 5, 6, 8, 9]),
    ("active=not.eq.true", &[2, 5, 8]),
    // Times, bytes, JSON.
    ("born=eq.2000-01-01T00:00:00Z", &[4]),
    ("born=gt.2000-01-01", &[2, 5, 8]),
    ("born=lte.1970-01-01T01:00:00+01:00", &[1, 7]),
    ("born=lt.1900-01-01 00:00:00", &[1]),
    ("born=in.(1970-01-01,2020-02-29T12:00:00Z)", &[5, 7]),
    ("data=eq.AP8=", &[1]),
    (r"data=eq.\x00ff", &[1]),
    ("data=eq.", &[2]),
    ("data=gt.AA==", &[1, 4, 5, 8]),
    ("data=in.(/w==,Jw==)", &[4, 8]),
    ("doc=eq.{\"a\":1}", &[1]),
    ("doc=like.*a*", &[1]),
    ("doc=is.null", &[3, 5, 6, 9]),
    ("doc=eq.null", &[8]),
    ("doc=in.({},\"[1,2]\")", &[2, 7]),
    // And, or, not.
    ("or=(age.lt.18,name.eq.Ada)", &[1, 2, 7]),
    (
        "or=(name.eq.\"O'Brien; DROP TABLE people; --\",note.eq.\"a,b\")",
        &[2, 4],
    ),
    (
        "and=(age.gt.1,or(name.eq.Ada,not.and(active.is.true,price.lt.10)))",
        &[1, 2, 5, 8, 9],
    ),
    ("not.and=(age.gte.18,active.is.true)", &[2, 3, 5, 6, 7, 8, 9]),
    ("not.or=(age.lt.18,active.is.true)", &[5, 8, 9]),
    ("or=(age.is.null,and(age.gte.40,age.not.in.(65)))", &[3, 6, 9]),
    ("or=(note.in.(\"a,b\",plain), id.eq.9 )", &[1, 2, 9]),
    ("or=(note.in.(\"a,b\",plain), id.eq.9)", &[1, 2, 9]),
    ("and=(note.like.\"a_b\",note.not.like.a\\\\_b)", &[2, 7, 8]),
    ("and=(note.like.\"a_b\",note.not.like.a\\_b)", &[2, 8]),
    ("or=(id.eq.1,id.eq.2)&or=(id.eq.2,id.eq.3)", &[2]),
    // Columns with the names of parameters.
    ("and=(select.eq.x)", &[1]),
    ("and=(order.gte.8,id.neq.9)", &[8]),
    ("or=(and.eq.q,not.eq.1)", &[1, 2]),
    ("and=(not.not.eq.1)", &[2]),
    // Order: nulls last, or first where the largest come first; the key last.
    ("order=name", &[7, 1, 4, 2, 8, 9, 3, 5, 6]),
    ("order=name.desc", &[6, 5, 3, 9, 8, 2, 4, 1, 7]),
    ("order=name.desc.nullslast", &[5, 3, 9, 8, 2, 4, 1, 7, 6]),
    ("order=age.nullsfirst,name.desc", &[6, 3, 7, 2, 8, 1, 9, 5, 4]),
    ("order=price", &[9, 3, 7, 1, 8, 4, 2, 5, 6]),
    ("order=price.desc,id.desc", &[6, 5, 2, 4, 8, 1, 7, 3, 9]),
    ("order=active,born.desc", &[8, 5, 2, 4, 7, 1, 3, 6, 9]),
    ("order=data.desc.nullslast", &[8, 4, 5, 1, 7, 2, 3, 6, 9]),
    ("order=doc", &[4, 2, 8, 1, 7, 3, 5, 6, 9]),
    ("order=order.desc&limit=3", &[9, 8, 7]),
    ("order=id.desc&limit=3&offset=7", &[2, 1]),
    ("limit=0", &[]),
    ("offset=100", &[]),
];

#[test]
fn every_filter_gives_the_rows_that_postgrest_gives() {
    on_each(|host, filled| {
        let mut wrong = Vec::new();
        for (query, expected) in CASES {
            let answer = host.read(&format!("/v1/tables/people?select=id&{query}"));
            if answer.status != 200 || answer.ids() != *expected {
                wrong.push(format!(
                    "{query}\n  wanted {expected:?}, got {} {}",
                    answer.status, answer.body
                ));
            }
        }
        assert!(wrong.is_empty(), "on {}:\n{}", filled.name, wrong.join("\n"));
        // Counted, they are as many.
        for (query, expected) in CASES {
            if query.contains("limit") || query.contains("offset") {
                continue;
            }
            let path = format!("/v1/tables/people?select=id&{query}");
            let answer = host.ask("GET", &path, &[("Prefer", "count=exact")]);
            let range = answer.header("content-range").unwrap_or_default().to_owned();
            let total = range.rsplit_once('/').map(|(_, total)| total.to_owned());
            assert_eq!(total, Some(expected.len().to_string()), "{query}: {range}");
        }
    });
    const { assert!(CASES.len() >= 60) };
}
