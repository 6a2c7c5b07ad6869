//! Where this host answers, recorded with the tables so that commands find it.

use std::collections::BTreeMap;

use crate::tables::Ownership;

/// What it is called among a host's problems.
const PROBLEM: &str = "address";

/// Where a host answers, and whether the owner's record has it.
#[derive(Debug, Default)]
pub(crate) struct Address {
    places: Option<Places>,
    recorded: bool,
}

/// Where a host answers.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Those who use it.
    pub(crate) public: String,
    /// The commands of its own project; the same where that speaks plain HTTP on loopback.
    pub(crate) local: String,
}

impl Address {
    /// Takes the addresses; the local one is to be recorded.
    pub(crate) fn set(&mut self, places: Places) {
        self.places = Some(places);
        self.recorded = false;
    }

    /// The address for those who use the host, if it listens.
    pub(crate) fn public(&self) -> Option<&str> {
        self.places.as_ref().map(|places| places.public.as_str())
    }

    /// Says that whoever owns the tables database now has recorded nothing yet.
    pub(crate) fn forget(&mut self) {
        self.recorded = false;
    }

    /// Whether there is one that is not recorded yet.
    pub(crate) fn is_to_be_recorded(&self) -> bool {
        self.places.is_some() && !self.recorded
    }

    /// Records it, unless that is done. A failure is a problem of the host until a later try succeeds.
    pub(crate) fn record(
        &mut self,
        ownership: &mut dyn Ownership,
        problems: &mut BTreeMap<&'static str, String>,
    ) {
        let Some(places) = self.places.as_ref().filter(|_| !self.recorded) else {
            return;
        };
        match ownership.announce(&places.local) {
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
        address.set(Places {
            public: "https://10.0.0.1:7117".to_owned(),
            local: "127.0.0.1:1".to_owned(),
        });
        assert_eq!(address.public(), Some("https://10.0.0.1:7117"));
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
