//! Where this host answers, recorded with the tables so that commands find it.

use std::collections::BTreeMap;

use crate::tables::Ownership;

/// What it is called among a host's problems.
const PROBLEM: &str = "address";

/// An address, and whether the owner's record has it.
#[derive(Debug, Default)]
pub(crate) struct Address {
    address: Option<String>,
    recorded: bool,
}

impl Address {
    /// Takes the address that is to be recorded.
    pub(crate) fn set(&mut self, address: String) {
        self.address = Some(address);
        self.recorded = false;
    }

    /// The address, if there is one.
    pub(crate) fn get(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Says that whoever owns the tables database now has recorded nothing yet.
    pub(crate) fn forget(&mut self) {
        self.recorded = false;
    }

    /// Records it, unless that is done. A failure is a problem of the host until a later try succeeds.
    pub(crate) fn record(
        &mut self,
        ownership: &mut dyn Ownership,
        problems: &mut BTreeMap<&'static str, String>,
    ) {
        let Some(address) = self.address.as_ref().filter(|_| !self.recorded) else {
            return;
        };
        match ownership.announce(address) {
            Ok(()) => {
                self.recorded = true;
                problems.remove(PROBLEM);
            }
            Err(error) => {
                problems.insert(PROBLEM, format!("the host's address cannot be recorded: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::StoreError;

    /// Fails so many times.
    struct Owner {
        failures: usize,
        recorded: Vec<String>,
    }

    impl Ownership for Owner {
        fn is_held(&mut self) -> bool {
            true
        }

        fn announce(&mut self, address: &str) -> Result<(), StoreError> {
            if self.failures > 0 {
                self.failures -= 1;
                return Err(StoreError::Unavailable("the server is away".to_owned()));
            }
            self.recorded.push(address.to_owned());
            Ok(())
        }
    }

    #[test]
    fn an_address_is_tried_until_it_is_recorded_and_the_problem_goes() {
        let (mut address, mut problems) = (Address::default(), BTreeMap::new());
        let mut owner = Owner {
            failures: 2,
            recorded: Vec::new(),
        };
        address.record(&mut owner, &mut problems);
        assert!(problems.is_empty(), "there is none yet");
        address.set("127.0.0.1:1".to_owned());
        for _ in 0..2 {
            address.record(&mut owner, &mut problems);
            assert!(problems[PROBLEM].contains("the server is away"), "{problems:?}");
        }
        address.record(&mut owner, &mut problems);
        address.record(&mut owner, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(owner.recorded, ["127.0.0.1:1"], "once");
        // Another owner's record knows nothing of it.
        address.forget();
        address.record(&mut owner, &mut problems);
        assert_eq!(owner.recorded.len(), 2);
    }
}
