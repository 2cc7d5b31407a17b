//! Answers that are given again, and what is written down of them meanwhile.
//!
//! No secret is kept, nor what is long and kept elsewhere: both are found anew when they are asked for.

use prost::Message;

use super::convert::settings_message;
use super::status::AdminError;
use crate::hub::accounts::{Accounts, ManageError};
use crate::ids::{GroupId, KeyId};
use crate::pb::v1;

/// The answer of a call that is made once.
pub(super) trait Again: Message + Default + Clone + 'static {
    /// What is written down.
    fn kept(&self) -> Self {
        self.clone()
    }

    /// The whole answer again, from what was written down.
    fn restored(
        self,
        _accounts: &Accounts,
        _group: &GroupId,
    ) -> impl Future<Output = Result<Self, AdminError>> + Send {
        std::future::ready(Ok(self))
    }
}

macro_rules! as_they_are {
    ($($answer:ident),* $(,)?) => {
        $(impl Again for v1::$answer {})*
    };
}

as_they_are! {
    CreateGroupResponse, RevokeApiKeyResponse, UpsertAgentResponse, DeleteAgentResponse,
    SetPermissionsResponse, RemoveAssociationResponse, RevokeTokensResponse, SignalVisitorResponse,
    DisconnectVisitorResponse, EndSessionResponse, DrainResponse, SetLogFilterResponse, PostFeedResponse, SyncNowResponse,
    DeleteSinkResponse, TestSinkResponse, ReplayDeadLettersResponse,
}

impl Again for v1::CreateApiKeyResponse {
    fn kept(&self) -> Self {
        Self { secret: String::new(), ..self.clone() }
    }

    /// A key that was revoked since is of no use to anybody and is not told again.
    async fn restored(self, accounts: &Accounts, group: &GroupId) -> Result<Self, AdminError> {
        let id = self.api_key.as_ref().map_or("", |key| key.key_id.as_str());
        let id = KeyId::new(id).map_err(|_| AdminError::Internal)?;
        match accounts.api_key(group, &id).await {
            Ok(key) => Ok(Self { secret: key.secret.expose().to_owned(), ..self }),
            Err(ManageError::Revoked(_)) => Err(AdminError::NotFound),
            Err(error) => Err(error.into()),
        }
    }
}

/// A webhook's secret is told once. Who lost the answer gives the sink another.
impl Again for v1::PutSinkResponse {
    fn kept(&self) -> Self {
        Self { secret: String::new(), ..self.clone() }
    }
}

impl Again for v1::UpdateSettingsResponse {
    fn kept(&self) -> Self {
        Self { settings: None, version: self.version }
    }

    /// The history has the settings of each version.
    async fn restored(self, accounts: &Accounts, group: &GroupId) -> Result<Self, AdminError> {
        let changes = accounts.settings_changes(group, self.version.checked_add(1), 1).await?;
        match changes.into_iter().next() {
            Some(change) if change.version == self.version => {
                Ok(Self { settings: Some(settings_message(&change.after)), ..self })
            }
            _ => Err(AdminError::Internal),
        }
    }
}
