//! A tool in Rust: one function of `slug.wit`, compiled to a component.

wit_bindgen::generate!({ path: "slug.wit" });

struct Slugs;

impl Guest for Slugs {
    fn slug(title: String, options: Option<Options>) -> Result<String, String> {
        let between = match options.as_ref().and_then(|options| options.between) {
            Some(Separator::Underscore) => '_',
            Some(Separator::Dash) | None => '-',
        };
        let at_most = options.and_then(|options| options.at_most).unwrap_or(64) as usize;
        let mut slug = String::new();
        for character in title.chars().flat_map(char::to_lowercase) {
            if character.is_alphanumeric() {
                slug.push(character);
            } else if !slug.is_empty() && !slug.ends_with(between) {
                slug.push(between);
            }
        }
        let slug: String = slug.chars().take(at_most).collect();
        let slug = slug.trim_end_matches(between);
        if slug.is_empty() { Err(format!("`{title}` has no letter or digit")) } else { Ok(slug.to_owned()) }
    }
}

export!(Slugs);
