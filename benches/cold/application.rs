//! The application: 500 classes, all of which its front page uses, in two releases.

use std::fmt::Write;

use harness::Site;

const CLASSES: usize = 500;
/// So that the first request, which compiles all of it, takes about 80 ms.
const METHODS: usize = 9;

/// Writes both releases.
pub(crate) fn write(site: &Site) {
    for release in [1, 2] {
        let dir = format!("www/release{release}");
        for class in 0..CLASSES {
            site.write(&format!("{dir}/src/C{class}.php"), &source(release, class));
        }
        site.write(&format!("{dir}/index.php"), &INDEX.replace("CLASSES", &CLASSES.to_string()));
        site.write(&format!("{dir}/preload.php"), PRELOAD);
    }
}

const INDEX: &str = r"<?php
spl_autoload_register(fn (string $class) => require __DIR__ . '/src/' . substr($class, 4) . '.php');
$releases = [];
$sum = 0;
for ($n = 0; $n < CLASSES; $n++) {
    $class = 'App\\C' . $n;
    $sum += (new $class($n))->method0($n);
    $releases[$class::RELEASE] = true;
}
header('Content-Type: text/plain');
echo 'release ', implode('+', array_keys($releases)), ': ', $sum, PHP_EOL;
";

const PRELOAD: &str = r"<?php
foreach (glob(__DIR__ . '/src/*.php') as $file) {
    opcache_compile_file($file);
}
";

fn source(release: u32, class: usize) -> String {
    let mut text = format!(
        "<?php\ndeclare(strict_types=1);\nnamespace App;\n\nfinal class C{class}\n{{\n    \
         public const RELEASE = {release};\n    private array $seen = [];\n\n    \
         public function __construct(private int $number) {{}}\n"
    );
    for method in 0..METHODS {
        write!(
            text,
            r"
    /** What method {method} of class {class} makes of a number. */
    public function method{method}(int $n, string $name = 'c{class}-{method}'): int
    {{
        if ($n < 0 || $name === '') {{
            throw new \InvalidArgumentException(sprintf('%s: %d', $name, $n));
        }}
        $key = $name . ':' . ($n % {modulus});
        $this->seen[$key] = ($this->seen[$key] ?? 0) + 1;
        return match (true) {{
            isset($this->seen['none']) => array_sum(array_map(fn (int $i) => $i * 2, $this->seen)),
            default => $this->number + $n + {class},
        }};
    }}
",
            modulus = method + 2
        )
        .unwrap();
    }
    text + "}\n"
}
