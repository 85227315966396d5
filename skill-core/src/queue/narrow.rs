//! Listings for callers that may not see every run of their owner.

use std::cmp::Reverse;

use crate::{
    access::Caller,
    error::{Error, Result},
    name::{ActionName, Slug},
    record::{execution::Execution, scope::Scope},
    store::ExecutionFilter,
};

use super::Shared;

/// The most runs that are put in order to find one page.
const MOST: u64 = 10_000;

impl Shared {
    /// The runs that match and that the caller's scopes allow it to see, the newest first, and how
    /// many there are in all.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the store does not answer;
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a page far from the newest
    /// run that a caller with single scopes asks for by its offset.
    pub(super) async fn listed(
        &self,
        caller: &Caller,
        filter: &ExecutionFilter,
    ) -> Result<(Vec<Execution>, u64)> {
        let history = &self.executor.history;
        // Whoever may see a run may see the calls that it made.
        if filter.parent.is_some() || caller.scopes.allows(&Scope::All) {
            return history.list(&caller.owner, filter).await;
        }
        let parts = parts(caller, filter);
        let most = filter.offset.saturating_add(filter.limit.into());
        if parts.len() > 1 && most > MOST {
            let issue = "expected an offset nearer to the newest run: go on with `after` instead";
            return Err(Error::invalid(issue).detail("offset", issue));
        }
        let (mut found, mut total) = (Vec::new(), 0);
        let is_one = parts.len() == 1;
        for part in parts {
            let limit = u32::try_from(most).unwrap_or(u32::MAX);
            let part = if is_one { part } else { ExecutionFilter { limit, offset: 0, ..part } };
            let (runs, count) = history.list(&caller.owner, &part).await?;
            found.extend(runs);
            total += count;
        }
        if !is_one {
            found.sort_by_key(|run| Reverse(run.id));
            let skip = usize::try_from(filter.offset).unwrap_or(usize::MAX);
            found = found.into_iter().skip(skip).take(filter.limit as usize).collect();
        }
        Ok((found, total))
    }
}

/// What is asked for, cut down to what the caller may see: no two of them match the same run.
fn parts(caller: &Caller, filter: &ExecutionFilter) -> Vec<ExecutionFilter> {
    let of = |namespace: &Slug, name: Option<&Slug>| ExecutionFilter {
        namespace: Some(namespace.clone()),
        name: name.cloned(),
        ..filter.clone()
    };
    let allows = |scope: &Scope| caller.scopes.allows(scope);
    if let (Some(namespace), Some(name)) = (&filter.namespace, &filter.name) {
        let action = ActionName { namespace: namespace.clone(), name: name.clone() };
        return if caller.scopes.see(&action) { vec![filter.clone()] } else { Vec::new() };
    }
    let is_wanted = |namespace: &Slug| filter.namespace.as_ref().is_none_or(|one| one == namespace);
    let part = |scope: &Scope| match scope {
        Scope::All => None,
        Scope::Namespace(namespace) => is_wanted(namespace).then(|| of(namespace, None)),
        Scope::Action(ActionName { namespace, name }) => {
            let is_covered = allows(&Scope::Namespace(namespace.clone()));
            (is_wanted(namespace) && !is_covered).then(|| of(namespace, Some(name)))
        }
    };
    caller.scopes.iter().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{name::OwnerId, record::scope::Scopes};

    fn asked(scopes: &str, filter: &ExecutionFilter) -> Vec<String> {
        let scopes = Scopes::parse([scopes]).unwrap();
        let caller = Caller { scopes, ..Caller::operator(OwnerId::standard()) };
        let text = |part: &ExecutionFilter| {
            let name = part.name.as_ref().map_or("*", Slug::as_str);
            format!("{}/{name}", part.namespace.as_ref().unwrap())
        };
        parts(&caller, filter).iter().map(text).collect()
    }

    #[test]
    fn a_listing_is_cut_down_to_the_scopes_of_the_key() {
        let all = ExecutionFilter::default();
        let scopes = "github,github/get_repo,open/search,keys";
        assert_eq!(asked(scopes, &all), ["github/*", "keys/*", "open/search"]);
        let slug = |text| Some(Slug::parse(text).unwrap());
        let github = ExecutionFilter { namespace: slug("github"), ..all };
        assert_eq!(asked(scopes, &github), ["github/*"]);
        assert_eq!(asked("github/get_repo", &github), ["github/get_repo"]);
        let repo = ExecutionFilter { name: slug("get-repo"), ..github };
        assert_eq!(asked("github/get_repo", &repo).len(), 1);
        assert!(asked("github/search", &repo).is_empty());
    }
}
