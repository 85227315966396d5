//! Logins in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{MemoryStore, exists};
use crate::{
    error::Result,
    record::{
        flow::TokenHash,
        login::{Answer, Login},
    },
    store::LoginStore,
};

#[async_trait]
impl LoginStore for MemoryStore {
    async fn insert_login(&self, login: &Login, now: Timestamp, most: u32) -> Result<bool> {
        let mut tables = self.lock();
        tables.logins.retain(|_, login| now < login.expires_at);
        if tables.logins.len() >= most as usize {
            return Ok(false);
        }
        let is_taken = tables.logins.values().any(|old| old.code == login.code);
        if is_taken || tables.logins.contains_key(&login.device) {
            return Err(exists("a login"));
        }
        tables.logins.insert(login.device, login.clone());
        Ok(true)
    }

    async fn login_by_device(&self, device: &TokenHash, now: Timestamp) -> Result<Option<Login>> {
        let tables = self.lock();
        Ok(tables.logins.get(device).filter(|login| now < login.expires_at).cloned())
    }

    async fn login_by_code(&self, code: &TokenHash, now: Timestamp) -> Result<Option<Login>> {
        let tables = self.lock();
        let is_wanted = |login: &&Login| {
            login.code == *code && login.answer.is_none() && now < login.expires_at
        };
        Ok(tables.logins.values().find(is_wanted).cloned())
    }

    async fn answer_login(
        &self,
        code: &TokenHash,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<bool> {
        let mut tables = self.lock();
        let is_wanted = |login: &&mut Login| {
            login.code == *code && login.answer.is_none() && now < login.expires_at
        };
        let Some(login) = tables.logins.values_mut().find(is_wanted) else { return Ok(false) };
        login.answer = Some(answer.clone());
        Ok(true)
    }

    async fn end_login(&self, device: &TokenHash, now: Timestamp) -> Result<Option<Login>> {
        let mut tables = self.lock();
        let is_over = |login: &Login| login.answer.is_some() && now < login.expires_at;
        if !tables.logins.get(device).is_some_and(is_over) {
            return Ok(None);
        }
        Ok(tables.logins.remove(device))
    }
}
