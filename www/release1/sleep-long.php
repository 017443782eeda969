<?php

// A request that takes long (?seconds=5), to be in flight while the release changes.
// Its code was loaded at the start. At the end it looks at its directory again: had
// the release changed under it, the two would not agree.

const RELEASE = '1';

$seconds = min(max((float) ($_GET['seconds'] ?? 5), 0), 30);

// A signal ends usleep() early: sleep again until the time has passed.
$end = hrtime(true) + (int) ($seconds * 1e9);
while (($left = $end - hrtime(true)) > 0) {
    usleep(intdiv($left, 1000) + 1);
}

header('Content-Type: text/plain; charset=utf-8');

$found = trim((string) @file_get_contents(__DIR__ . '/release.txt'));
if ($found !== RELEASE) {
    http_response_code(500);
    exit('ver' . RELEASE . ": Failed: mixed releases, release.txt says \"$found\". CWD: " . getcwd() . "\n");
}

echo 'ver' . RELEASE . ": Success. Slept for $seconds seconds. CWD: " . getcwd() . "\n";
