//! What decides who may come in: tokens, names, origins, TLS; and the thread that follows their files.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::Utc;

use super::noted::Noted;
use super::tls::{Tls, TlsError};
use super::token::{Token, TokenError};
use super::tokens::{Tokens, TokensError};
use crate::config::Config;

/// Between two looks at the files. A token that is taken out works for so long at the most.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why nobody could be let in.
#[derive(Debug, thiserror::Error)]
pub enum EntranceError {
    /// The admin's token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The tokens of others.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The machine gave no thread.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
    /// Other machines could reach the host, and nobody could tell them apart.
    #[error(
        "[host] listen {listen} is reachable from other machines, and {file} holds no token that is good now: make one by \
         'lamphouse token add NAME --role read', or listen on 127.0.0.1"
    )]
    NoTokens {
        /// Where it would listen.
        listen: String,
        /// The file of the tokens.
        file: String,
    },
}

/// What every request is held against.
pub struct Entrance {
    /// The token of the data folder: its owner's, on this machine alone.
    pub(super) token: Token,
    pub(super) tokens: Tokens,
    pub(super) names: Vec<String>,
    pub(super) cors_origins: Vec<String>,
    pub(super) tls: Option<Tls>,
    pub(super) connections_max: usize,
    noted: Noted,
}

impl Entrance {
    /// Reads what the configuration names, and follows it while the entrance lives.
    ///
    /// # Errors
    /// Something that was named cannot be used, or a host that others can reach would have no token for them.
    pub fn open(config: &Config) -> Result<Arc<Self>, EntranceError> {
        let token = Token::load_or_create(&config.data)?;
        let noted = Noted::default();
        let tls = config
            .tls
            .as_ref()
            .map(|files| Tls::load(files, noted.clone()))
            .transpose()?;
        let entrance = Arc::new(Self {
            token,
            tokens: Tokens::load(&config.tokens, noted.clone())?,
            names: config.names.clone(),
            cors_origins: config.cors_origins.clone(),
            tls,
            connections_max: usize::try_from(config.connections_max).unwrap_or(usize::MAX),
            noted,
        });
        if !config.is_loopback() && entrance.tokens.good(Utc::now()) == 0 {
            return Err(EntranceError::NoTokens {
                listen: config.listen.clone(),
                file: shown(&config.tokens),
            });
        }
        let weak = Arc::downgrade(&entrance);
        std::thread::Builder::new()
            .name("entrance".to_owned())
            .spawn(move || follow(&weak))?;
        Ok(entrance)
    }

    /// What is wrong with the files now.
    pub fn noted(&self) -> Noted {
        self.noted.clone()
    }

    /// Whether connections are secured.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Looks at the files again and again, until nobody uses the entrance any more.
fn follow(entrance: &Weak<Entrance>) {
    loop {
        std::thread::sleep(LOOK_EVERY);
        let Some(entrance) = entrance.upgrade() else {
            return;
        };
        entrance.tokens.look();
        if let Some(tls) = &entrance.tls {
            tls.look();
        }
    }
}
