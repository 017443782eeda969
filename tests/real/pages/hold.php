<?php

// Answers in two halves. The first goes out at once; the second when the test says so, by a file.
// It names the release before and after: had it changed in between, the two would not agree.

$release = fn (): string => trim(file_get_contents(__DIR__ . '/release.txt'));
$mark = $_GET['mark'];
// As in who.php.
preg_match('/^php-fpm: pool (\w+)/', file_get_contents('/proc/self/cmdline'), $pool);

echo 'begun on release ', $release(), "\n", str_repeat('.', 100_000), "\n";
flush();
file_put_contents("$mark.new", $pool[1] . ' ' . getmypid());
rename("$mark.new", "$mark.begun");
while (!file_exists("$mark.end")) {
    usleep(2000);
}
echo str_repeat('.', 100_000), "\n", 'ended on release ', $release(), "\n";
