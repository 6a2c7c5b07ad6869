//! Sorting by keys that are elsewhere.

/// Sorts numbers by their keys. Most keys of a table begin alike: what comes behind that is kept beside each number, so that
/// the keys themselves, which lie anywhere, are seldom looked at again.
pub(super) fn sort_by_key<'k>(numbers: &mut [u32], key: impl Fn(u32) -> &'k [u8]) {
    let [first, rest @ ..] = &*numbers else { return };
    let first = key(*first);
    let alike = rest.iter().fold(first.len(), |alike, &number| {
        let both = first[..alike].iter().zip(key(number));
        both.take_while(|(a, b)| a == b).count()
    });
    let mut heads: Vec<(u64, u32)> = numbers
        .iter()
        .map(|&number| (head(&key(number)[alike..]), number))
        .collect();
    heads.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(key(b.1))));
    for (number, (_, sorted)) in numbers.iter_mut().zip(heads) {
        *number = sorted;
    }
}

/// The first bytes as a number that orders as they do, shorter texts first or as equals.
fn head(bytes: &[u8]) -> u64 {
    let mut head = [0; 8];
    let count = bytes.len().min(head.len());
    head[..count].copy_from_slice(&bytes[..count]);
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sorted_as_the_keys_are(
            common in proptest::collection::vec(any::<u8>(), 0..12),
            ends in proptest::collection::vec(proptest::collection::vec(0u8..3, 0..12), 0..50),
        ) {
            let keys: Vec<Vec<u8>> = ends.iter().map(|end| [&common[..], end].concat()).collect();
            let mut numbers: Vec<u32> = (0..keys.len() as u32).collect();
            sort_by_key(&mut numbers, |number| &keys[number as usize]);
            let sorted: Vec<&Vec<u8>> = numbers.iter().map(|&number| &keys[number as usize]).collect();
            let mut expected: Vec<&Vec<u8>> = keys.iter().collect();
            expected.sort();
            prop_assert_eq!(sorted, expected);
            numbers.sort_unstable();
            prop_assert!(numbers.iter().copied().eq(0..keys.len() as u32));
        }
    }
}
