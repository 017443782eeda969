<?php

// Which release answered, and who: the demo's front page.

const RELEASE = '1';
const COLOUR = '#2563eb';

// "php-fpm: pool www1". fpm_get_status() says it too, but while other children start or answer
// it can crash (seen in PHP 8.2).
$title = (string) @file_get_contents('/proc/self/cmdline');
$replica = preg_match('/^php-fpm: pool (\w+)/', $title, $found) ? $found[1] : PHP_SAPI;
$root = dirname(__DIR__, 2);
$other = RELEASE === '1' ? 'release2' : 'release1';
$text = fn (string|int $value): string => htmlspecialchars((string) $value);

header('Content-Type: text/html; charset=utf-8');
header('Cache-Control: no-store');
?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Release <?= RELEASE ?></title>
<style>
  body { margin: 0; min-height: 100vh; display: grid; place-items: center;
         font: 1rem/1.6 system-ui, sans-serif; color: #1e293b; background: #f1f5f9; }
  main { width: min(36rem, 100% - 2rem); overflow: hidden; background: #fff;
         border-radius: .75rem; box-shadow: 0 .5rem 2rem #0f172a1f; }
  h1 { margin: 0; padding: 2rem; font-size: 2.5rem; color: #fff; background: <?= COLOUR ?>; }
  div { padding: 1rem 2rem 2rem; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.5rem; }
  dt { color: #64748b; }
  dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
  pre { padding: 1rem; overflow-x: auto; color: #e2e8f0; background: #0f172a; border-radius: .5rem; }
</style>
</head>
<body>
<main>
  <h1>Release <?= RELEASE ?></h1>
  <div>
    <dl>
      <dt>Replica</dt> <dd><?= $text($replica) ?></dd>
      <dt>Process</dt> <dd><?= $text(getmypid()) ?></dd>
      <dt>PHP</dt>     <dd><?= PHP_VERSION ?></dd>
      <dt>Script</dt>  <dd><?= $text(__FILE__) ?></dd>
    </dl>
    <p>To switch, move the symlink and restart, from <code><?= $text($root) ?></code>:</p>
<pre>ln -s <?= $other ?> www/next
mv -T www/next www/current.release
pools-manager restart</pre>
    <p>Then reload this page. Whoever is being served meanwhile is served to the end.</p>
  </div>
</main>
</body>
</html>
