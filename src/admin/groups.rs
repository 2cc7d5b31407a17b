//! Groups and their company settings.

use super::convert::{group_message, settings_message, settings_of, timestamp};
use super::gate::{Caller, Operator, Within};
use super::mask::merged;
use super::page::{self, Pages};
use super::service::Service;
use super::status::AdminError;
use super::{bad, refusal};
use crate::hub::accounts::ManageError;
use crate::ids::GroupId;
use crate::model::settings::Settings;
use crate::pb::v1;
use crate::store::{SettingsChange, StoreError};

pub(super) async fn create_group(
    service: &Service,
    operator: &Operator,
    request: v1::CreateGroupRequest,
) -> Result<v1::CreateGroupResponse, AdminError> {
    let id = GroupId::new(&request.group).map_err(|error| bad("group", error))?;
    let by = operator.caller().who().to_string();
    match service.accounts.create_group(&id, &Settings::default(), &by).await {
        Ok(group) => Ok(v1::CreateGroupResponse { group: Some(group_message(&group)) }),
        Err(ManageError::Store(StoreError::Conflict { .. })) => {
            Err(AdminError::AlreadyExists { field: "group" })
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn list_groups(
    service: &Service,
    caller: &Caller,
    request: v1::ListGroupsRequest,
) -> Result<v1::ListGroupsResponse, AdminError> {
    let own = caller.who().own_group();
    let of = own.map_or("", GroupId::as_str);
    let pages = Pages { accounts: &service.accounts, call: "ListGroups", of };
    let after = pages.after(&request.page_token)?.unwrap_or_default();
    let mut groups = match own {
        Some(own) => service.accounts.group(own).into_iter().collect(),
        None => service.accounts.groups(),
    };
    groups.retain(|group| group.id.as_str() > after.as_str());
    groups.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let next_page_token = pages.cut(&mut groups, page::size(request.page_size), |group| group.id.to_string());
    Ok(v1::ListGroupsResponse {
        groups: groups.iter().map(|group| group_message(group)).collect(),
        next_page_token,
    })
}

pub(super) async fn get_settings(
    service: &Service,
    within: &Within,
    _request: v1::GetSettingsRequest,
) -> Result<v1::GetSettingsResponse, AdminError> {
    let group = service.accounts.group(within.group()).ok_or(AdminError::NotFound)?;
    Ok(v1::GetSettingsResponse { settings: Some(settings_message(&group.settings)), version: group.version })
}

pub(super) async fn update_settings(
    service: &Service,
    within: &Within,
    request: v1::UpdateSettingsRequest,
) -> Result<v1::UpdateSettingsResponse, AdminError> {
    let asked = Asked::of(&request)?;
    let accounts = &service.accounts;
    let by = within.caller().who().to_string();
    let current = || accounts.group(within.group()).ok_or(AdminError::NotFound);
    let mut group = current()?;
    asked.over(&group.settings)?;
    if group.version != request.expected_version {
        // Another node may have been told of a newer one.
        accounts.reload_group(within.group()).await?;
        group = current()?;
    }
    if group.version != request.expected_version {
        return match made_before(service, within.group(), &request, &asked, &by).await? {
            Some(change) => Ok(answer(&change.after, change.version)),
            None => Err(AdminError::Conflict { version: group.version }),
        };
    }
    let settings = settings_of(asked.over(&group.settings)?).map_err(AdminError::Invalid)?;
    let changed = accounts
        .update_settings(within.group(), &settings, request.expected_version, &by)
        .await
        .map_err(refusal::of_settings)?;
    Ok(answer(&changed.settings, changed.version))
}

pub(super) async fn list_settings_changes(
    service: &Service,
    within: &Within,
    request: v1::ListSettingsChangesRequest,
) -> Result<v1::ListSettingsChangesResponse, AdminError> {
    let of = within.group().as_str();
    let pages = Pages { accounts: &service.accounts, call: "ListSettingsChanges", of };
    let before = match pages.after(&request.page_token)? {
        Some(last) => Some(last.parse().map_err(|_| AdminError::Internal)?),
        None => None,
    };
    let size = page::size(request.page_size);
    let changes = service.accounts.settings_changes(within.group(), before, size).await?;
    // A page may end early, but versions begin at 1 and have no gaps.
    let next_page_token = match changes.last() {
        Some(last) if last.version > 1 => pages.token(&last.version.to_string()),
        _ => String::new(),
    };
    Ok(v1::ListSettingsChangesResponse {
        changes: changes.into_iter().map(change_message).collect(),
        next_page_token,
    })
}

/// What an update asks for.
struct Asked<'a> {
    settings: &'a v1::Settings,
    paths: &'a [String],
}

impl<'a> Asked<'a> {
    fn of(request: &'a v1::UpdateSettingsRequest) -> Result<Self, AdminError> {
        let settings = request.settings.as_ref().ok_or_else(|| bad("settings", "is missing"))?;
        let paths = request.update_mask.as_ref().map_or(&[][..], |mask| &mask.paths);
        Ok(Self { settings, paths })
    }

    /// The settings that would come of it.
    fn over(&self, settings: &Settings) -> Result<v1::Settings, AdminError> {
        merged(&settings_message(settings), self.settings, self.paths)
    }
}

/// The change that this very call made before the process died, ere it could be remembered: by the same
/// caller, from the version that it read, with the outcome that it asks for. Only a call with a request ID
/// says that it is the same.
async fn made_before(
    service: &Service,
    group: &GroupId,
    request: &v1::UpdateSettingsRequest,
    asked: &Asked<'_>,
    by: &str,
) -> Result<Option<SettingsChange>, AdminError> {
    if request.request_id.is_empty() {
        return Ok(None);
    }
    let made = request.expected_version.saturating_add(1);
    let changes = service.accounts.settings_changes(group, made.checked_add(1), 1).await?;
    let Some(change) = changes.into_iter().next() else { return Ok(None) };
    let Some(before) = &change.before else { return Ok(None) };
    let same =
        change.version == made && change.by == by && asked.over(before)? == settings_message(&change.after);
    Ok(same.then_some(change))
}

fn answer(settings: &Settings, version: u64) -> v1::UpdateSettingsResponse {
    v1::UpdateSettingsResponse { settings: Some(settings_message(settings)), version }
}

fn change_message(change: SettingsChange) -> v1::SettingsChange {
    let SettingsChange { version, at, by, before, after } = change;
    v1::SettingsChange {
        version,
        changed_at: Some(timestamp(at)),
        changed_by: by,
        before: before.as_ref().map(settings_message),
        after: Some(settings_message(&after)),
    }
}
