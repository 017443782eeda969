<?php

// Which pool answers, from which release, and what its php-fpm was told on the command line.

$pool = rtrim(fpm_get_status()['pool'], '12');
$release = trim(file_get_contents(__DIR__ . '/release.txt'));

echo "$pool, release $release, ", ini_get('memory_limit'), "\n";
