<?php

// Which pool answers (as in who.php), from which release, and what its php-fpm was told on the
// command line.

preg_match('/^php-fpm: pool ([a-z]+)/', file_get_contents('/proc/self/cmdline'), $pool);
$release = trim(file_get_contents(__DIR__ . '/release.txt'));

echo "$pool[1], release $release, ", ini_get('memory_limit'), "\n";
