//! The examples that ship.

use are_core::body::Effect;
use serde_json::json;

use super::world::World;

#[tokio::test]
async fn the_shipped_example_works() {
    let world = World::new(include_str!("../../../../../examples/tools/text.js"));
    assert_eq!(world.manifest("x_count").effect, Effect::None);
    std::fs::write(world.path("a.txt"), "one two\nthree\n").expect("file");
    std::fs::write(world.path("b.txt"), "none").expect("file");
    assert_eq!(world.ok("x_count", json!({"path": "a.txt"})).await, json!({"lines": 2, "words": 3, "characters": 14}));
    let args = json!({"paths": ["a.txt", "b.txt"], "from": "two", "to": "2"});
    assert_eq!(world.ok("x_replace_all", args).await, json!({"a.txt": 1, "b.txt": 0}));
    assert_eq!(std::fs::read_to_string(world.path("a.txt")).expect("file"), "one 2\nthree\n");
}
