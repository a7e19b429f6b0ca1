//! The headers that guards set, take tokens from, or judge: behind the body nobody judges them.

use tower_mesh::Mesh;
use tower_mesh::istio::JwtRule;
use tower_mesh::policy::ir::{Permission, Policy, Principal};

/// Their names, as they are written.
pub(crate) fn names(mesh: &Mesh, port: u16) -> Vec<String> {
    let engine = mesh.engine();
    let mut names = Vec::new();
    let authentication = engine.authentication(port);
    let origins = authentication
        .legacy
        .iter()
        .flat_map(|legacy| &legacy.origins);
    let rules = origins.map(|origin| &origin.rule);
    for rule in rules.chain(&authentication.rules) {
        of_tokens(rule, &mut names);
    }
    for (_, _, set) in engine.program().http.get(port).sets() {
        for Policy {
            permissions,
            principals,
        } in set.policies.values()
        {
            permissions
                .iter()
                .for_each(|one| of_permission(one, &mut names));
            principals
                .iter()
                .for_each(|one| of_principal(one, &mut names));
        }
    }
    names
}

fn of_tokens(rule: &JwtRule, names: &mut Vec<String>) {
    let tokens = rule.from_headers.iter().map(|header| &header.name);
    let claims = rule
        .output_claim_to_headers
        .iter()
        .map(|claim| &claim.header);
    let all = tokens.chain(claims).chain(&rule.output_payload_to_header);
    names.extend(all.map(|name| name.as_str().to_owned()));
}

fn of_permission(permission: &Permission, names: &mut Vec<String>) {
    match permission {
        Permission::And(all) | Permission::Or(all) => {
            all.iter().for_each(|one| of_permission(one, names));
        }
        Permission::Not(one) => of_permission(one, names),
        Permission::Header(header) => names.push(header.name.clone()),
        _ => {}
    }
}

fn of_principal(principal: &Principal, names: &mut Vec<String>) {
    match principal {
        Principal::And(all) | Principal::Or(all) => {
            all.iter().for_each(|one| of_principal(one, names));
        }
        Principal::Not(one) => of_principal(one, names),
        Principal::Header(header) => names.push(header.name.clone()),
        _ => {}
    }
}
